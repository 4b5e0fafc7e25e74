package session

import (
	"context"
	"errors"
	"sync"
)

// Names are what a new session can be found by beside its id.
type Names struct {
	// Key is that of the creation: repeated with the same key it finds the
	// session that it has made, for as long as that is kept. Empty for none.
	Key string
	// Digest is of all that is asked for, with a Key: the same key with another
	// digest is ErrKeyReused.
	Digest string
	// Alias is taken from the session that had it before. Empty for none.
	Alias string
}

// aliasOf is the alias of a key. Others have a prefix of their own.
func aliasOf(key string) string { return "key:" + key }

// CreateNamed makes a session with names of what spec returns, and reports
// whether it was there already: then nothing is made, and spec need not have been
// called. It is called twice if what another relay made with the key meanwhile is
// no more. Errors are those of Create, Get and spec, and ErrKeyReused.
func (m *Manager) CreateNamed(ctx context.Context, who Principal, names Names, spec func() (Spec, error)) (s *Session, again bool, err error) {
	var aliases []Alias
	if names.Alias != "" {
		aliases = append(aliases, Alias{Name: names.Alias, Moves: true})
	}
	if names.Key == "" {
		s, err = m.makeNamed(ctx, who, names, spec, aliases)
		return s, false, err
	}
	leave, err := m.keys.enter(ctx, who, names.Key)
	if err != nil {
		return nil, false, err
	}
	defer leave()
	key := Alias{Name: aliasOf(names.Key)}
	switch s, err = m.Resolve(ctx, who, key.Name); {
	case err == nil:
		return s.repeated(names)
	case !IsNone(err):
		return nil, false, err
	}
	_, key.Moves = errors.AsType[*GoneError](err) // which may still be bound
	s, err = m.makeNamed(ctx, who, names, spec, append(aliases, key))
	bound, ok := errors.AsType[*BoundError](err)
	if !ok {
		return s, false, err
	}
	// Another relay has used the key meanwhile, or a creation that nobody waited
	// for any more.
	switch s, err = m.Get(ctx, who, bound.ID); {
	case err == nil:
		return s.repeated(names)
	case !IsNone(err):
		return nil, false, err
	}
	key.Moves = true
	s, err = m.makeNamed(ctx, who, names, spec, append(aliases, key))
	return s, false, err
}

func (m *Manager) makeNamed(ctx context.Context, who Principal, names Names, spec func() (Spec, error), aliases []Alias) (*Session, error) {
	made, err := spec()
	if err != nil {
		return nil, err
	}
	made.Digest = names.Digest
	return m.newSession(ctx, who, made, aliases)
}

// repeated is what a creation finds whose key has made s.
func (s *Session) repeated(names Names) (*Session, bool, error) {
	if s.info.Spec.Digest != names.Digest {
		return nil, false, ErrKeyReused
	}
	return s, true, nil
}

// Resolve returns the session that has an alias. Errors are those of Get, and
// of the store.
func (m *Manager) Resolve(ctx context.Context, who Principal, alias string) (*Session, error) {
	id, err := m.store.Resolve(ctx, who, alias)
	if err != nil {
		return nil, err
	}
	return m.Get(ctx, who, id)
}

// keys are those of creations that are under way: of each key one at a time,
// so that who repeats a creation finds what it made.
type keys struct {
	mu   sync.Mutex // guards the field below
	busy map[principalKey]chan struct{}
}

type principalKey struct {
	who Principal
	key string
}

// enter waits until no other creation has the key, or ctx is done.
func (k *keys) enter(ctx context.Context, who Principal, key string) (leave func(), err error) {
	name := principalKey{who, key}
	for {
		k.mu.Lock()
		other := k.busy[name]
		if other == nil {
			break
		}
		k.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	defer k.mu.Unlock()
	if k.busy == nil {
		k.busy = make(map[principalKey]chan struct{})
	}
	done := make(chan struct{})
	k.busy[name] = done
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.busy, name)
		close(done)
	}, nil
}
