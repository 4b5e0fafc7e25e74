package server

// What fuzzing reaches.
var (
	DecodeStrict = decodeStrict
	ParseCursor  = parseCursor
)

func Statuses() map[code]int { return statuses }
