package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
)

// decode reads the request's body into v: one JSON value, all of whose fields
// v has. An empty body leaves v as it is. It does not look at Content-Type.
func (s *Server) decode(c *gin.Context, v any) error {
	rc := http.NewResponseController(c.Writer)
	rc.SetReadDeadline(time.Now().Add(s.opts.BodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, s.opts.MaxBody))
	if err == nil {
		rc.SetReadDeadline(time.Time{}) // it would end the connection later
	} else {
		c.Header("Connection", "close") // the rest is not waited for
	}
	s.begin(c) // the body may have taken all the time there was
	switch _, tooLarge := errors.AsType[*http.MaxBytesError](err); {
	case tooLarge:
		return &requestError{codeBody, fmt.Sprintf("the body is larger than %d bytes", s.opts.MaxBody)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &requestError{codeSlowBody, "the body took too long to arrive"}
	case err != nil:
		return &requestError{codeJSON, "the body broke off"}
	case len(bytes.TrimSpace(body)) == 0:
		return nil
	}
	return decodeStrict(body, v)
}

// decodeStrict is json.Unmarshal that refuses fields which v does not have and
// text that is not Unicode, where json.Unmarshal would replace it. The errors
// are *requestErrors.
func decodeStrict(data []byte, v any) error {
	if !utf8.Valid(data) {
		return &requestError{codeUTF8, "the body is not valid UTF-8"}
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); err == io.EOF {
			if hasLoneSurrogate(data) {
				return &requestError{codeUTF8, `the body has half a surrogate pair, such as "\ud83d": send whole characters`}
			}
			return nil
		}
		return &requestError{codeJSON, "the body holds more than one JSON value"}
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return &requestError{codeInvalid, fmt.Sprintf("%s: must not be a JSON %s", wrong.Field, wrong.Value)}
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return &requestError{codeField, "unknown field " + field}
	}
	return &requestError{codeJSON, "the body is not JSON: " + strings.TrimPrefix(err.Error(), "json: ")}
}

// hasLoneSurrogate reports whether a string in valid JSON has an escape that
// is half of a surrogate pair (RFC 8259, section 8.2).
func hasLoneSurrogate(data []byte) bool {
	for {
		i := bytes.IndexByte(data, '\\')
		if i < 0 {
			return false
		}
		data = data[i:]
		if data[1] != 'u' {
			data = data[2:]
			continue
		}
		switch {
		case !isSurrogate(data, "89abAB"+"cdefCDEF"):
			data = data[6:]
		case isSurrogate(data, "89abAB") && isSurrogate(data[6:], "cdefCDEF"):
			data = data[12:]
		default:
			return true
		}
	}
}

// isSurrogate reports whether data starts with \uDxnn, x being one of third.
func isSurrogate(data []byte, third string) bool {
	return len(data) >= 6 && data[0] == '\\' && data[1] == 'u' &&
		data[2]|0x20 == 'd' && strings.IndexByte(third, data[3]) >= 0
}
