package server

import (
	"encoding/json"
	"net/http"
	"testing"

	"tokenrelay/session"
)

// ParseResponse reads a create: what goes on to the model, and what is recorded.
func ParseResponse(body []byte) (input, parameters, recorded []byte, prompt string, err error) {
	r, err := parseResponse(body)
	if err != nil {
		return nil, nil, nil, "", err
	}
	input, err = json.Marshal(r.input)
	return input, r.parameters, appendJSON(nil, r.recorded), r.prompt, err
}

// ParseRetrieval returns the number of the first event that is wanted.
func ParseRetrieval(r *http.Request, body []byte) (from int64, err error) {
	asked, err := parseRetrieval(r, body)
	return asked.from, err
}

// ResponseAllocations is how often memory is taken for an event of text.
func ResponseAllocations() float64 {
	r, to := newResponses(session.Info{ID: session.NewID()}), &events{}
	r.frame(session.Frame{ID: 1, Kind: session.KindSession, Data: []byte(`{"created":"2026-01-02T03:04:05Z"}`)}, to)
	text := session.Frame{Kind: session.KindText, Data: []byte(`{"text":"Hello"}`)}
	r.frame(text, to)
	r.parts[0].text = make(escaped, 0, 1<<20)
	return testing.AllocsPerRun(1000, func() {
		to.wire = to.wire[:0]
		r.frame(text, to)
	})
}
