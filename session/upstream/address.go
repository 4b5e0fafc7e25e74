package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"strings"
)

// A base is a URL behind which the paths of a protocol are put.
type base struct{ *url.URL }

const baseExample = "it must be such as https://api.openai.com/v1"

// parseBase reads a base_url. Its error names what is wrong with which value,
// without what may be a secret.
func parseBase(raw string, p protocol) (base, error) {
	if raw == "" {
		return base{}, errors.New("base_url: is missing")
	}
	if !strings.Contains(raw, "://") {
		what := fmt.Sprintf("%q has", raw)
		if strings.ContainsAny(raw, "@?#") {
			what = "has"
		}
		return base{}, fmt.Errorf("base_url: %s no scheme: %s", what, baseExample)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return base{}, fmt.Errorf("base_url: is no URL: %s", baseExample)
	}
	shown := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	if u.Host == "" {
		shown = u.Scheme + "://" + u.Path
	}
	wrong := func(what string) (base, error) { return base{}, fmt.Errorf("base_url: %q %s", shown, what) }
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return wrong("is neither http nor https: " + baseExample)
	case u.Hostname() == "":
		return wrong("has no host: " + baseExample)
	case u.User != nil:
		return wrong("has user info: a key goes into key_env or key_file")
	case u.RawQuery != "" || u.ForceQuery:
		return wrong("has a query, which no path can follow")
	case u.Fragment != "":
		return wrong("has a fragment, which no path can follow")
	}
	added := []string{p.path()}
	if _, ok := p.(ollama); ok {
		added = append(added, path.Dir(p.path()))
	}
	for _, suffix := range added {
		if strings.HasSuffix(strings.TrimRight(u.Path, "/"), suffix) {
			return base{}, fmt.Errorf("base_url: ends with %s, which the relay adds", suffix)
		}
	}
	return base{u}, nil
}

// plain reports whether others can read what is sent there: without
// encryption, and not only to this machine or within a private network, where
// names have no dot.
func (b base) plain() bool {
	if b.Scheme != "http" {
		return false
	}
	host := strings.TrimSuffix(strings.ToLower(b.Hostname()), ".")
	if address, err := netip.ParseAddr(host); err == nil {
		return !address.IsLoopback() && !address.IsPrivate() && !address.IsLinkLocalUnicast()
	}
	return strings.Contains(host, ".") && !strings.HasSuffix(host, ".localhost")
}
