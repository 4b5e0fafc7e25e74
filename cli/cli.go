// Package cli is the commands of the tokenrelay binary and their
// configuration: flags, TOKENRELAY_* variables and a YAML file, in that order
// of precedence.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

const description = `A relay for streamed text, with exact resume.

  tokenrelay serve                 then open http://127.0.0.1:8080
  tokenrelay ask "Why tides?"      types an answer out; space pauses
  tokenrelay follow ID --after 57  goes on where a reader left
  tokenrelay continue ID           asks a model to go on from an answer that broke off
  tokenrelay chunk notes.txt       shows how a text is cut`

// commands is what the command line can say.
type commands struct {
	Serve    serveCommand    `cmd:"" help:"Serve the API and the page until interrupted."`
	Ask      askCommand      `cmd:"" help:"Start a session with a prompt and type its text out. In a terminal, space pauses and continues."`
	Follow   followCommand   `cmd:"" help:"Type out a session that is there, from its start or from an event on."`
	Continue continueCommand `cmd:"" help:"Ask a model to go on from an answer that was stopped, failed or was interrupted, and type the new session out."`
	Chunk    chunkCommand    `cmd:"" help:"Show how a text is cut into tokens, characters, words or lines, with their numbers and token ids."`
	Version  versionCommand  `cmd:"" help:"Print the version."`
}

// streams are what a command reads and writes.
type streams struct {
	in       *os.File
	out, err io.Writer
}

// An exitError is an end that has been explained already.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Main runs one command line and returns the exit status: 0 if all went well,
// 1 if not, 2 if the command line is wrong, 130 if it was interrupted.
func Main(args []string, stdin *os.File, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, args, streams{stdin, stdout, stderr})
}

// run is Main, interrupted when ctx ends.
func run(ctx context.Context, args []string, s streams) (status int) {
	var c commands
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case exitError: // after --help
			status = int(cause)
		default:
			panic(cause)
		}
	}()
	// Errors may hold what a provider or another relay wrote.
	complain := &terminalWriter{w: s.err}
	command, err := parse(&c, args, s)
	if err != nil {
		fmt.Fprintf(complain, "tokenrelay: %v\nSee %s --help.\n", err, helpFor(err))
		return 2
	}
	err = command(ctx)
	if code, ok := errors.AsType[exitError](err); ok {
		return int(code)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return 130
	}
	if err != nil {
		fmt.Fprintf(complain, "tokenrelay: %v\n", err)
		return 1
	}
	return 0
}

type versionCommand struct{}

func (versionCommand) Run(s streams) error {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version + " " + info.GoVersion
	}
	_, err := fmt.Fprintln(s.out, "tokenrelay", version)
	return err
}
