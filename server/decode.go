package server

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tokenrelay/session"
)

// maxEcho is how much of what a client sent an error repeats, in bytes.
const maxEcho = 64

// decode reads the request's body into v. An empty body leaves v as it is. It
// does not look at Content-Type.
func (s *Server) decode(c *gin.Context, v any) error {
	body, err := s.body(c)
	if err != nil {
		return err
	}
	return decodeBody(body, v)
}

// decodeBody reads a body into v. An empty one leaves v as it is.
func decodeBody(body []byte, v any) error {
	if strings.TrimSpace(string(body)) == "" {
		return nil
	}
	return decodeStrict(body, v, "")
}

// body reads the request's body.
func (s *Server) body(c *gin.Context) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, s.opts.MaxBody))
	rc := http.NewResponseController(c.Writer)
	rc.SetWriteDeadline(time.Now().Add(s.opts.WriteTimeout)) // the body may have taken all the time there was
	if err == nil {
		rc.SetReadDeadline(time.Time{})
		c.Writer.Header().Del("Connection")
	}
	switch _, tooLarge := errors.AsType[*http.MaxBytesError](err); {
	case tooLarge:
		return nil, &requestError{codeBody, fmt.Sprintf("the body is larger than %d bytes, which --max-body of the relay sets", s.opts.MaxBody)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &requestError{codeSlowBody, "the body took too long to arrive"}
	case err != nil:
		return nil, &requestError{codeJSON, "the body broke off"}
	}
	return body, nil
}

// decodeStrict reads one JSON value as RFC 8259 and RFC 7493 have it: names are
// unique and spelt as v has them, text is Unicode. Nothing is ignored and
// nothing replaced. In errors prefix names what data is, and stands before its
// fields; none is that of the body.
func decodeStrict(data []byte, v any, prefix string) error {
	what := cmp.Or(prefix, "the body")
	err := json.Unmarshal(data, v, json.RejectUnknownMembers(true))
	semantic, isSemantic := errors.AsType[*json.SemanticError](err)
	syntactic, isSyntactic := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case err == nil:
		return nil
	case !utf8.Valid(data):
		return &requestError{codeUTF8, what + " is not valid UTF-8"}
	case isSyntactic && strings.Contains(syntactic.Error(), "surrogate"):
		return &requestError{codeUTF8, what + ` has half of a surrogate pair, such as "\ud83d": send whole characters`}
	case errors.Is(err, jsontext.ErrDuplicateName):
		return &requestError{codeJSON, fieldOf(prefix, syntactic.JSONPointer) + " is given twice"}
	case errors.Is(err, json.ErrUnknownName):
		return &requestError{codeField, "unknown field " + fieldOf(prefix, semantic.JSONPointer)}
	case isSemantic && semantic.JSONPointer == "" && prefix == "":
		return &requestError{codeInvalid, "the body must be a JSON object, not " + kindOf(semantic.JSONKind)}
	case isSemantic:
		return &session.InvalidError{Field: fieldOf(prefix, semantic.JSONPointer), Reason: "cannot be " + kindOf(semantic.JSONKind)}
	}
	return &requestError{codeJSON, what + " is not JSON: " + echo(strings.TrimPrefix(err.Error(), "jsontext: "))}
}

// fields are those of a request of another protocol than the native one, which
// may have any: what nobody takes is passed on.
type fields map[string]jsontext.Value

// decodeFields reads a body that must be an object.
func decodeFields(body []byte) (fields, error) {
	f := make(fields)
	if err := decodeBody(body, &f); err != nil {
		return nil, err
	}
	if f == nil {
		return nil, &requestError{codeJSON, "the body must be a JSON object, not null"}
	}
	return f, nil
}

// take reads a field into v, and takes it out of the others. A field that is
// absent or null leaves v as it is.
func (f fields) take(name string, v any) error {
	raw, there := f[name]
	delete(f, name)
	if !there || raw.Kind() == 'n' {
		return nil
	}
	return decodeStrict(raw, v, name)
}

// rest is what nobody has taken, nil if that is nothing.
func (f fields) rest() []byte {
	if len(f) == 0 {
		return nil
	}
	raw, err := json.Marshal(f, json.Deterministic(true))
	if err != nil {
		panic(err) // it has been JSON
	}
	return raw
}

// fieldOf names a place in a body as source.text.
func fieldOf(prefix string, at jsontext.Pointer) string {
	path := strings.ReplaceAll(strings.TrimPrefix(string(at), "/"), "/", ".")
	if prefix != "" && path != "" {
		prefix += "."
	}
	if path = prefix + path; path == "" {
		return "the body"
	}
	return echo(path)
}

func kindOf(k jsontext.Kind) string {
	switch k {
	case '[':
		return "an array"
	case '{':
		return "an object"
	case '"':
		return "a string"
	case '0':
		return "this number"
	case 't', 'f':
		return "true or false"
	}
	return "null"
}

// echo shortens what a client sent.
func echo(s string) string {
	if len(s) <= maxEcho {
		return s
	}
	return strings.ToValidUTF8(s[:maxEcho], "") + "…"
}
