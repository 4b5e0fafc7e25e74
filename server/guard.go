package server

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"

	"tokenrelay/session"
)

// exposed are the headers of answers that pages of other origins may see.
var exposed = []string{
	"Location", "Last-Event-ID", "Retry-After", "Idempotent-Replayed", "X-Error-Code", "X-Should-Retry", sessionHeader,
	runHeader, tailHeader, streamHeader,
}

// A guard refuses what pages of other sites may make a browser send.
type guard struct {
	hosts   []string
	origins []string
	cross   *http.CrossOriginProtection

	mu     sync.Mutex // guards what follows
	logged map[string]bool
}

// maxLogged is how many names of origins and hosts that were refused are logged
// at info, each of them once.
const maxLogged = 100

func newGuard(o Options) (*guard, error) {
	g := &guard{origins: o.AllowOrigins, cross: http.NewCrossOriginProtection(), logged: make(map[string]bool)}
	for _, host := range o.AllowHosts {
		if host == "" || strings.ContainsAny(host, ":/ ") {
			return nil, fmt.Errorf("allowed host %q: it must be a name without scheme and port, such as relay.example.com", host)
		}
		g.hosts = append(g.hosts, strings.ToLower(host))
	}
	for _, origin := range o.AllowOrigins {
		if err := g.cross.AddTrustedOrigin(origin); err != nil || strings.ToLower(origin) != origin {
			return nil, fmt.Errorf("allowed origin %q: it must be scheme and host in lower case, such as https://app.example.com", origin)
		}
	}
	return g, nil
}

func (g *guard) check(c *gin.Context) error {
	if !g.knowsHost(c.Request.Host) {
		return &requestError{codeHost, "this relay does not answer under that Host: name it with --allow-host"}
	}
	if origin := c.GetHeader("Origin"); slices.Contains(g.origins, origin) {
		c.Header("Access-Control-Allow-Origin", origin)
		c.Header("Access-Control-Expose-Headers", strings.Join(exposed, ", "))
		c.Writer.Header().Add("Vary", "Origin")
		if c.Request.Method == http.MethodOptions {
			c.Header("Access-Control-Allow-Methods", "GET, POST, DELETE")
			// SDKs add headers of their own to those that we know.
			asked := c.GetHeader("Access-Control-Request-Headers")
			c.Header("Access-Control-Allow-Headers", cmp.Or(asked, "Content-Type, Last-Event-ID, Idempotency-Key"))
			c.Header("Access-Control-Max-Age", "600")
			c.AbortWithStatus(http.StatusNoContent)
			return nil
		}
	}
	if err := g.cross.Check(c.Request); err != nil || isPreflight(c.Request) {
		return &requestError{codeOrigin, "pages of another origin may not do this: allow theirs with --allow-origin"}
	}
	return nil
}

// isPreflight reports whether a browser asks whether a page of another origin
// may do something.
func isPreflight(r *http.Request) bool {
	origin, err := url.Parse(r.Header.Get("Origin"))
	return r.Method == http.MethodOptions && (err != nil || r.Header["Origin"] != nil && origin.Host != r.Host)
}

// noteRefusal returns at which level a request that was refused is logged, and
// what is said of it there. It remembers who may not be served: each is told of at
// info once, so that nobody fills the log. Everything else is at debug.
func (g *guard) noteRefusal(r *http.Request, is code) (level slog.Level, about []any) {
	var name string
	switch is {
	case codeOrigin:
		name = cmp.Or(r.Header.Get("Origin"), "none")
		about = []any{"origin", echo(name)}
	case codeHost:
		name = r.Host
		about = []any{"host", echo(name)}
	default:
		return slog.LevelDebug, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if name = string(is) + " " + echo(name); g.logged[name] || len(g.logged) == maxLogged {
		return slog.LevelDebug, about
	}
	g.logged[name] = true
	return slog.LevelInfo, about
}

// knowsHost reports whether the relay answers under a Host header's name.
// Addresses and localhost are not names that somebody else's DNS can point
// here, and every browser sends one.
func (g *guard) knowsHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host) != nil ||
		slices.Contains(g.hosts, host) || slices.Contains(g.hosts, "*")
}

// principal returns who asks. While access control is off that is anybody.
func principal(*gin.Context) session.Principal { return session.Anonymous }
