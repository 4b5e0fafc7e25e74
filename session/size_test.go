//go:build !soak

package session_test

const programsWanted = 300
