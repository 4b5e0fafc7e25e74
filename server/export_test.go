package server

// What fuzzing reaches.
var (
	ParseCursor = parseCursor
)

func DecodeStrict(data []byte, v any) error { return decodeStrict(data, v, "") }

func Statuses() map[code]int { return statuses }
