package server

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"tokenrelay/session"
)

// A chatProvider gathers what a provider that speaks chat completions sent of
// its own, beside what every provider sends.
//
// Of the fields of chunks, the small ones stand in every chunk from the next on,
// so many as maxOften: the others in the next chunk only, each time that they are
// told, so that what a chunk takes does not grow with what a provider once sent.
// A completion has all of them.
type chatProvider struct {
	fields members // of the chunks
	often  members // those of them that stand in every chunk
	shared []byte  // often, each with a comma before it
	once   members // those that only the next chunk has
	choice members // of the choice, since shown
	delta  members // of its delta, since shown
	usage  members
	held   int // bytes, about
}

// Which fields stand in every chunk. Chunks have been shown so: see
// projectionVersion.
const (
	maxOften     = 16  // fields
	maxOftenSize = 256 // bytes of one, its name and its value in JSON
)

// What the relay writes itself, and takes from no provider.
var (
	ownFields = []string{"id", "object", "created", "model", "choices", "usage", "error"}
	ownChoice = []string{"index", "delta", "message", "finish_reason"}
	ownDelta  = []string{"role", "content", "reasoning_content", "refusal", "tool_calls"}
	ownUsage  = []string{"prompt_tokens", "completion_tokens", "total_tokens", "source"}
)

// inPieces are members of objects in a delta, a function_call or audio, whose
// text comes in pieces.
var inPieces = map[string]bool{"arguments": true, "transcript": true, "data": true}

// take adds a provider's frame. What is of another protocol, or cannot be read,
// is nothing.
func (p *chatProvider) take(f session.Frame) {
	var sent struct {
		Protocol              string
		Fields, Choice, Usage map[string]json.RawMessage
	}
	if json.Unmarshal(f.Data, &sent) != nil || sent.Protocol != string(session.DialectChat) {
		return
	}
	var delta map[string]json.RawMessage
	json.Unmarshal(sent.Choice["delta"], &delta) // of another type it is nothing
	for _, name := range slices.Sorted(maps.Keys(sent.Fields)) {
		if !slices.Contains(ownFields, name) {
			p.field(name, sent.Fields[name])
		}
	}
	if len(sent.Fields) > 0 {
		p.shared = p.often.appendMembers(p.shared[:0], true)
	}
	p.held += p.usage.replace(sent.Usage, ownUsage)
	p.held += p.choice.gather(sent.Choice, ownChoice)
	p.held += p.delta.gather(delta, ownDelta)
}

// field takes a field of the chunks.
func (p *chatProvider) field(name string, value json.RawMessage) {
	p.held += p.fields.replace(map[string]json.RawMessage{name: value}, nil)
	delete(p.often, name)
	delete(p.once, name)
	one := members{name: p.fields[name]}
	to := &p.once
	if len(p.often) < maxOften && len(one.appendMembers(nil, false)) <= maxOftenSize {
		to = &p.often
	}
	if *to == nil {
		*to = make(members)
	}
	maps.Copy(*to, one)
}

// size is how many bytes it keeps, about.
func (p *chatProvider) size() int { return p.held }

// pending reports whether a chunk is to show something that no other will.
func (p *chatProvider) pending() bool {
	return len(p.once) > 0 || len(p.choice) > 0 || len(p.delta) > 0
}

// shown drops what belonged to one chunk.
func (p *chatProvider) shown() {
	p.held -= p.choice.size() + p.delta.size()
	clear(p.once)
	clear(p.choice)
	clear(p.delta)
}

// appendUsage appends an answer's usage as chat completions have it.
func (p *chatProvider) appendUsage(dst []byte, u session.Usage) []byte {
	input, output := tokens(u)
	dst = strconv.AppendInt(append(dst, `{"prompt_tokens":`...), input, 10)
	dst = strconv.AppendInt(append(dst, `,"completion_tokens":`...), output, 10)
	dst = strconv.AppendInt(append(dst, `,"total_tokens":`...), input+output, 10)
	dst = append(append(append(dst, `,"source":"`...), u.Source...), '"')
	return append(p.usage.appendMembers(dst, true), '}')
}

// members are those of a JSON object.
type members map[string]*gathered

// replace sets members, and returns how many bytes more they take; those of the
// names in own stay out.
func (m *members) replace(with map[string]json.RawMessage, own []string) (grown int) {
	for name := range with {
		if g := (*m)[name]; g != nil {
			grown -= sizeOf(name, g)
			delete(*m, name)
		}
	}
	return grown + m.gather(with, own)
}

// gather adds to members, and returns how many bytes more they take; those of
// the names in own stay out.
func (m *members) gather(more map[string]json.RawMessage, own []string) (grown int) {
	for name, value := range more {
		if !slices.Contains(own, name) {
			grown += m.add(name, value, 0)
		}
	}
	return grown
}

func (m *members) add(name string, value json.RawMessage, depth int) (grown int) {
	if *m == nil {
		*m = make(members)
	}
	g := (*m)[name]
	switch {
	case g == nil:
		g = new(gathered)
		(*m)[name] = g
		grown = sizeOf(name, g)
	case depth > 0 && inPieces[name] && value[0] == '"' && len(g.last) > 0 && g.last[0] == '"':
		g.last = append(g.last[:len(g.last)-1], value[1:]...)
		return len(value) - 2
	}
	return grown + g.add(value, depth)
}

// appendMembers appends them in the order of their names, which is the same
// each time, with a comma before the first if there is something before it.
func (m members) appendMembers(dst []byte, comma bool) []byte {
	if len(m) == 0 {
		return dst
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if comma {
			dst = append(dst, ',')
		}
		comma = true
		dst = append(appendJSON(dst, name), ':')
		dst = m[name].appendTo(dst)
	}
	return dst
}

func (m members) size() (n int) {
	for name, g := range m {
		n += sizeOf(name, g)
	}
	return n
}

// sizeOf is how many bytes a member takes, about.
func sizeOf(name string, g *gathered) int { return 100 + len(name) + g.size() }

// A gathered value is what JSON values that came one after another make
// together: arrays are joined, objects merged, of others the last counts, and
// null counts where there is nothing else.
type gathered struct {
	last    json.RawMessage // nil if it is an object or an array
	object  bool
	members members // of an object
	array   bool
	items   []byte // of an array, with commas between them
}

// maxMerge is how deep objects are merged; deeper, the last counts.
const maxMerge = 4

// add adds a value, and returns how many bytes more it takes. What is there is
// measured only where it is dropped.
func (g *gathered) add(value json.RawMessage, depth int) (grown int) {
	var inside map[string]json.RawMessage
	switch {
	case value[0] == 'n' && (g.last != nil || g.object || g.array):
	case value[0] == '[':
		items := bytes.TrimSpace(value[1 : len(value)-1])
		if !g.array {
			grown = -g.size()
			*g = gathered{array: true}
		}
		if len(g.items) > 0 && len(items) > 0 {
			g.items = append(g.items, ',')
			grown++
		}
		g.items = append(g.items, items...)
		grown += len(items)
	case value[0] == '{' && depth < maxMerge && json.Unmarshal(value, &inside) == nil:
		if !g.object {
			grown = -g.size()
			*g = gathered{object: true}
		}
		for name, value := range inside {
			grown += g.members.add(name, value, depth+1)
		}
	default:
		grown = len(value) - g.size()
		*g = gathered{last: value}
	}
	return grown
}

func (g *gathered) size() int { return len(g.last) + len(g.items) + g.members.size() }

func (g *gathered) appendTo(dst []byte) []byte {
	switch {
	case g.object:
		return append(g.members.appendMembers(append(dst, '{'), false), '}')
	case g.array:
		return append(append(append(dst, '['), g.items...), ']')
	}
	return append(dst, g.last...)
}
