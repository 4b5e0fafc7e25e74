package server

import (
	"encoding/json"
	"net/http"
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
