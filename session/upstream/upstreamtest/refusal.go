package upstreamtest

import (
	"cmp"
	"fmt"
	"net/http"
)

// refusal is the body of an error answer.
func (d Dialect) refusal(status int, message string) string {
	message = quote(cmp.Or(message, http.StatusText(status), "the provider failed"))
	switch d {
	case Messages:
		kind := map[int]string{
			http.StatusBadRequest:      "invalid_request_error",
			http.StatusUnauthorized:    "authentication_error",
			http.StatusForbidden:       "permission_error",
			http.StatusNotFound:        "not_found_error",
			http.StatusTooManyRequests: "rate_limit_error",
			529:                        "overloaded_error",
		}[status]
		return fmt.Sprintf(`{"type":"error","error":{"type":%q,"message":%s},"request_id":"req_1"}`, cmp.Or(kind, "api_error"), message)
	case Ollama:
		return fmt.Sprintf(`{"error":%s}`, message)
	}
	kind, code := "invalid_request_error", "null"
	switch {
	case status == http.StatusUnauthorized:
		code = `"invalid_api_key"`
	case status == http.StatusTooManyRequests:
		kind, code = "rate_limit_error", `"rate_limit_exceeded"`
	case status >= 500:
		kind = "server_error"
	}
	return fmt.Sprintf(`{"error":{"message":%s,"type":%q,"param":null,"code":%s}}`, message, kind, code)
}

// malformed is an event that breaks off within its JSON.
func (d Dialect) malformed() string {
	switch d {
	case Messages:
		return "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"del\n\n"
	case Responses:
		return "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"del\n\n"
	case Ollama:
		return "{\"model\":\"m\",\"mess\n"
	}
	return data(`{"id":"chatcmpl-1","object":"chat.completion.chunk","choi`)
}
