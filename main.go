// Tokenrelay relays streamed text: it stands between whatever writes text and
// whatever reads it, numbers every event, and lets each reader pause, leave,
// and go on at exactly the next one.
package main

import (
	"os"

	"tokenrelay/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
