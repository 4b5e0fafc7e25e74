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

	"github.com/alecthomas/kong"
)

const description = `A relay for streamed text, with exact resume.

  tokenrelay serve                 then open http://127.0.0.1:8080
  tokenrelay ask "Why tides?"      types an answer out; space pauses
  tokenrelay follow ID --after 57  goes on where a reader left`

// commands is what the command line can say.
type commands struct {
	Serve   serveCommand   `cmd:"" help:"Serve the API and the page until interrupted."`
	Ask     askCommand     `cmd:"" help:"Start a session with a prompt and type its text out. In a terminal, space pauses and continues."`
	Follow  followCommand  `cmd:"" help:"Type out a session that is there, from its start or from an event on."`
	Version versionCommand `cmd:"" help:"Print the version."`
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
	var c commands
	status := 0
	k, err := kong.New(&c,
		kong.Name("tokenrelay"),
		kong.Description(description),
		kong.ShortUsageOnError(),
		kong.DefaultEnvars("TOKENRELAY"),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exitError(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Configuration(readConfig),
	)
	if err != nil {
		panic(err) // the struct above is wrong
	}
	defer func() {
		if code, ok := recover().(exitError); ok {
			status = int(code)
		}
	}()
	command, err := k.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "tokenrelay: %v\nSee tokenrelay --help.\n", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command.BindTo(ctx, (*context.Context)(nil))
	err = command.Run(streams{stdin, stdout, stderr})
	if code, ok := errors.AsType[exitError](err); ok {
		return int(code)
	}
	if err != nil {
		fmt.Fprintf(stderr, "tokenrelay: %v\n", err)
		return 1
	}
	return status
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
