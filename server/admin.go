package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"tokenrelay/session"
)

// DemoModel is the name of the built-in generator among the models.
const DemoModel = "demo"

// healthz says that the process lives.
func (s *Server) healthz(c *gin.Context) error {
	return render(c, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

// readyz says whether new sessions are taken on, and what their frames survive.
func (s *Server) readyz(c *gin.Context) error {
	if s.isDraining() {
		return session.ErrShutdown
	}
	if err := s.opts.Manager.Ready(); err != nil {
		return err
	}
	return render(c, http.StatusOK, struct {
		Status     string        `json:"status"`
		Durability session.Level `json:"durability"`
	}{"ready", s.opts.Manager.Level()})
}

// A modelBody is a model in the form of OpenAI's listing.
type modelBody struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// models lists what a session can be created with: the generator's name stands
// for a generate source, any other for an upstream one.
func (s *Server) models(c *gin.Context) error {
	list := struct {
		Object string      `json:"object"`
		Data   []modelBody `json:"data"`
	}{Object: "list"}
	for _, id := range s.modelNames() {
		list.Data = append(list.Data, s.modelBody(id))
	}
	return render(c, http.StatusOK, list)
}

// model answers with one of those that are listed. Names have slashes, which
// clients may or may not escape.
func (s *Server) model(c *gin.Context) error {
	id := strings.TrimPrefix(pathValue(c, "model"), "/")
	if !slices.Contains(s.modelNames(), id) {
		return &requestError{codeModel, fmt.Sprintf("there is no model %q", echo(id))}
	}
	return render(c, http.StatusOK, s.modelBody(id))
}

func (s *Server) modelNames() []string { return append([]string{DemoModel}, s.opts.Models...) }

func (s *Server) modelBody(id string) modelBody {
	return modelBody{id, "model", s.started.Unix(), "tokenrelay"}
}
