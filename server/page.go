package server

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// contentSecurityPolicy lets the page do what it does and nothing else. Text
// becomes HTML by two hands only: Svelte's, of its own templates, and DOMPurify's.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types svelte-trusted-html dompurify"

// A page serves the built front end: each file under its name, and index.html
// for every other path that has no dot, since the page finds its way by itself.
type page struct{ files map[string]file }

type file struct{ content, kind, etag string }

// newPage reads all of the page. from may be nil.
func newPage(from fs.FS) (*page, error) {
	p := &page{files: make(map[string]file)}
	if from == nil {
		return p, nil
	}
	err := fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		p.files[name] = file{
			content: string(content),
			kind:    mime.TypeByExtension(path.Ext(name)),
			etag:    fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(content))[:16]),
		}
		return nil
	})
	return p, err
}

// serve answers what no route takes.
func (p *page) serve(c *gin.Context) error {
	at := c.Request.URL.Path
	notFound := notHere(c.Request, codeRoute)
	if method := c.Request.Method; method != http.MethodGet && method != http.MethodHead || isAPI(at) {
		return notFound
	}
	name := strings.TrimPrefix(at, "/")
	if !strings.Contains(name, ".") {
		name = "index.html"
	}
	f, ok := p.files[name]
	if !ok && name == "index.html" {
		return &requestError{codeRoute, "this binary was built without its page: run make ui, then build it again"}
	}
	if !ok {
		return notFound
	}
	c.Header("Content-Security-Policy", contentSecurityPolicy)
	c.Header("Referrer-Policy", "no-referrer")
	c.Header("Cache-Control", "no-cache")
	c.Header("Content-Type", f.kind)
	c.Header("ETag", f.etag)
	http.ServeContent(c.Writer, c.Request, name, time.Time{}, strings.NewReader(f.content))
	return nil
}

// isAPI reports whether a path is the API's, where the page is no answer: a
// program that asks for it must not take the page for one.
func isAPI(at string) bool {
	at = path.Clean(at)
	first, _, _ := strings.Cut(strings.TrimPrefix(at, "/"), "/")
	return isOpenAI(at) || first == "v1" || first == "api" || first == "healthz" || first == "readyz"
}
