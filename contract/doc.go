// Package contract holds clients and providers that others wrote, unmodified,
// against the real binary: in Go here, in JavaScript beside it. It is a module
// of its own, so that none of them is a dependency of the relay.
package contract
