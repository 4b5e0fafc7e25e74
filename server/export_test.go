package server

import "tokenrelay/session"

// What fuzzing reaches.
var (
	ParseCursor = parseCursor
)

func DecodeStrict(data []byte, v any) error { return decodeStrict(data, v, "") }

func Statuses() map[code]int { return statuses }

// Compact merges frames up to head.
func Compact(frames session.Wire, head session.FrameID) []byte {
	merged, _ := compacted(head, nil)(frames)
	return merged
}
