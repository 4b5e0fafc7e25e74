package server

import (
	"fmt"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"tokenrelay/chunker"
	"tokenrelay/session"
)

// settingsHeader has the relay's own settings, for clients that send no fields of
// a body but their vendor's.
const settingsHeader = "X-Tokenrelay-Settings"

// settings are what a create says of the session beside its source.
type settings struct {
	Unit       chunker.Unit       `json:"unit"`
	Encoding   string             `json:"encoding"`
	Rate       float64            `json:"rate"`
	OnPause    session.OnPause    `json:"on_pause"`
	OnNoReader noReaderBody       `json:"on_no_reader"`
	Retain     string             `json:"retain"`
	Metadata   map[string]*string `json:"metadata"`
}

// A noReaderBody is a session.NoReader as clients write and see it.
type noReaderBody struct {
	Policy session.NoReaderPolicy `json:"policy"`
	After  string                 `json:"after"`
}

// spec is what is asked for, the source apart.
func (r settings) spec() (session.Spec, error) {
	spec := session.Spec{Unit: r.Unit, Encoding: r.Encoding, Rate: r.Rate, OnPause: r.OnPause}
	for key, value := range r.Metadata {
		if value == nil {
			return spec, &session.InvalidError{Field: "metadata", Reason: "holds text only"}
		}
		if spec.Metadata == nil {
			spec.Metadata = make(map[string]string)
		}
		spec.Metadata[key] = *value
	}
	spec.OnNoReader.Policy = r.OnNoReader.Policy
	var err error
	if spec.OnNoReader.After, err = duration("on_no_reader.after", r.OnNoReader.After, "5m"); err != nil {
		return spec, err
	}
	spec.Retain, err = duration("retain", r.Retain, "24h")
	return spec, err
}

// duration reads a field, 0 if it is absent.
func duration(field, value, example string) (time.Duration, error) {
	if value == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		return 0, &session.InvalidError{Field: field, Reason: fmt.Sprintf("must be a duration such as %q or \"90s\"", example)}
	}
	return d, nil
}

// extension are the relay's own settings in a request of another protocol, the
// object tokenrelay, which clients send with their means for fields of others.
type extension struct {
	settings
	Seed   *uint64 `json:"seed"`   // of the generator
	Length int     `json:"length"` // of the generator

	there bool // the request's body has the object
}

// takeExtension takes the relay's own settings.
func (f fields) takeExtension(e *extension) error {
	_, e.there = f["tokenrelay"]
	return f.take("tokenrelay", e)
}

// in returns the settings of a request: those of its body or, where that has
// none, of its header. named is how errors call them.
func (e extension) in(c *gin.Context) (given extension, named string, err error) {
	values, there := c.Request.Header[settingsHeader]
	if !there || e.there {
		return e, "tokenrelay", nil
	}
	if len(values) != 1 || strings.TrimSpace(values[0]) == "" {
		return e, settingsHeader, &requestError{codeParameter, "the header " + settingsHeader + " must be one JSON object"}
	}
	err = decodeStrict([]byte(values[0]), &given, settingsHeader)
	return given, settingsHeader, err
}
