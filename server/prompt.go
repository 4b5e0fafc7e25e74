package server

import (
	"encoding/json"
	"strings"
)

// lastSaid is the text of the user's last message: what the generator is asked.
func lastSaid(items []json.RawMessage) string {
	for i := len(items) - 1; i >= 0; i-- {
		var item struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		}
		if decodeLoose(items[i], &item) && item.Role == "user" {
			return plainText(item.Content)
		}
	}
	return ""
}

// plainText is that of a content: a text, or parts with texts.
func plainText(content json.RawMessage) string {
	var whole string
	if decodeLoose(content, &whole) {
		return whole
	}
	var parts []json.RawMessage
	decodeLoose(content, &parts)
	var text strings.Builder
	for _, raw := range parts {
		var part struct {
			Text string `json:"text"`
		}
		if decodeLoose(raw, &part) {
			text.WriteString(part.Text)
		}
	}
	return text.String()
}
