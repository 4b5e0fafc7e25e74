package session

// AppendText is the encoder of text frames, for fuzzing and for pinning its
// allocations.
func AppendText(dst []byte, id FrameID, kind Kind, text string) Wire {
	return appendText(dst, id, kind, text)
}
