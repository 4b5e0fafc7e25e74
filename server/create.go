package server

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/gin-gonic/gin"

	"tokenrelay/chunker"
	"tokenrelay/session"
)

const (
	// maxKey bounds an idempotency key, in bytes.
	maxKey = 255

	// demoRate is how many events a second the generator gives to a client of
	// another protocol that streams, or asks in the background, unless it says
	// so: as fast as models are.
	demoRate = 40

	// sessionHeader tells clients of other protocols which session is theirs.
	sessionHeader = "X-Tokenrelay-Session"
)

// newSession makes a session of what spec returns, or finds the one that a
// request with the same idempotency key has made: again reports that, and spec
// need not be called.
func (s *Server) newSession(c *gin.Context, names session.Names, spec func() (session.Spec, error)) (created *session.Session, again bool, err error) {
	return s.opts.Manager.CreateNamed(c.Request.Context(), principal(c), names, func() (session.Spec, error) {
		made, err := spec()
		made.Projection.Version = projectionVersion
		return made, err
	})
}

// names are those of the session that a request makes; asked is all that it says,
// its path apart. An error says why it can make none.
func (s *Server) names(c *gin.Context, asked ...[]byte) (names session.Names, err error) {
	if s.isDraining() {
		return names, session.ErrShutdown
	}
	given, there := c.Request.Header["Idempotency-Key"]
	if !there {
		return names, nil
	}
	names.Key = strings.Join(given, ", ")
	if len(given) != 1 || names.Key == "" || len(names.Key) > maxKey || strings.ContainsFunc(names.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return names, &requestError{codeKey, "the header Idempotency-Key must be 1 to 255 visible ASCII characters, given once"}
	}
	sum := sha256.New()
	sum.Write([]byte(c.Request.URL.Path + "\n"))
	for _, part := range asked {
		sum.Write(part)
	}
	names.Digest = hex.EncodeToString(sum.Sum(nil))
	return names, nil
}

// replayed tells that an idempotency key has made the session before.
func replayed(c *gin.Context) { c.Header("Idempotent-Replayed", "true") }

// A question is what a create of another protocol than the native one asks for.
type question struct {
	model    string
	dialect  session.Dialect
	messages json.RawMessage
	// compose returns messages that are made of other sessions too; else nil.
	compose func() (json.RawMessage, error)
	// parameters are fields of the request for the model; nil for none.
	parameters json.RawMessage
	prompt     string // for the generator: what was said last
	seed       uint64 // for the generator
	streams    bool   // the client reads it as it comes
	background bool   // the client comes back for it
	recorded   any    // what the protocol shows of the request again; nil for nothing
	alias      string
}

// seated has create answer a question to a model, with the request's body and a
// reader's seat: who could not read the answer does not ask for it.
func (s *Server) seated(create func(c *gin.Context, body []byte, at *session.Seat) error) func(*gin.Context) error {
	return func(c *gin.Context) error {
		body, err := s.body(c)
		if err != nil {
			return err
		}
		at, err := s.opts.Manager.Seat()
		if err != nil {
			return err
		}
		defer at.Leave()
		return create(c, body, at)
	}
}

// ask makes a session of a question, or finds it, and tells the client which it
// is. Only one that is found has the events that are wanted from a number on.
func (s *Server) ask(c *gin.Context, body []byte, q question, e extension, from int64) (created *session.Session, again bool, err error) {
	e, named, err := e.in(c)
	if err != nil {
		return nil, false, err
	}
	asked := [][]byte{body}
	if named == settingsHeader {
		asked = [][]byte{[]byte(c.GetHeader(settingsHeader) + "\n"), body}
	}
	names, err := s.names(c, asked...)
	if err != nil {
		return nil, false, err
	}
	names.Alias = q.alias
	created, again, err = s.newSession(c, names, func() (session.Spec, error) {
		if from > 0 {
			return session.Spec{}, &requestError{codeAhead, "nothing was asked with this Idempotency-Key before: the stream that Last-Event-ID is of is gone"}
		}
		return q.spec(e)
	})
	if err != nil {
		return nil, false, q.inWords(err, named)
	}
	c.Header(sessionHeader, created.Info().ID.String())
	if again {
		replayed(c)
	}
	return created, again, nil
}

// repeatFrom returns where the answer to a create is to go on that may be a
// repeated one: at its beginning, unless the client says what it has.
func repeatFrom(c *gin.Context, streams bool) (from int64, err error) {
	last, there := c.Request.Header["Last-Event-Id"]
	switch {
	case !there:
		return 0, nil
	case c.Request.Header["Idempotency-Key"] == nil:
		return 0, &requestError{codeCursor, "Last-Event-ID goes on with an answer only where the Idempotency-Key of the request that made it names it"}
	case !streams:
		return 0, errCursorOfWhole
	}
	return eventCursor(strings.Join(last, ", "))
}

// spec is that of the session that answers a question.
func (q question) spec(e extension) (session.Spec, error) {
	spec, err := e.spec()
	if err != nil {
		return spec, err
	}
	if q.compose != nil {
		if q.messages, err = q.compose(); err != nil {
			return spec, err
		}
	}
	if q.model == DemoModel {
		spec.Source = session.SourceSpec{Type: session.SourceGenerate, Prompt: q.prompt, Seed: *cmp.Or(e.Seed, &q.seed), Length: e.Length}
		if spec.Rate == 0 && (q.streams || q.background) {
			spec.Rate = demoRate
		}
	} else {
		spec.Source = session.SourceSpec{
			Type: session.SourceUpstream, Model: q.model, Dialect: q.dialect, Messages: q.messages, Parameters: q.parameters,
		}
		if e.Seed != nil || e.Length != 0 {
			return spec, &session.InvalidError{Field: "source.seed", Reason: "and length are the generator's, which is the model " + DemoModel}
		}
		// As the model gives it: a token is not held back until the next one comes.
		spec.Unit = cmp.Or(spec.Unit, chunker.Delta)
	}
	if q.recorded != nil {
		spec.Projection.Recorded = appendJSON(nil, q.recorded)
	}
	return spec, nil
}

// modelOf is the model of a session as its answer names it.
func modelOf(info session.Info) string {
	if info.Spec.Source.Type == session.SourceGenerate {
		return DemoModel
	}
	return cmp.Or(info.Spec.Source.Model, string(info.Spec.Source.Type))
}
