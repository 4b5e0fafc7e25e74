//go:build soak

package cli

import "tokenrelay/session"

// crashPhases say how often TestCrash kills the relay.
var crashPhases = []crashPhase{{session.LevelPower, 30}, {session.LevelProcess, 30}}
