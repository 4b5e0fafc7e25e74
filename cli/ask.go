package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"tokenrelay/server"
)

// demoRate is how fast the demo generator writes, in events a second.
const demoRate = 30

type askCommand struct {
	serverFlag
	Prompt []string `arg:"" optional:"" help:"What to ask. Without it, a line of standard input is asked."`
	Model  string   `default:"demo" help:"A model of the relay; demo is its own generator, which needs no key."`
	Unit   string   `default:"token" help:"What the text is cut into: rune, grapheme, token, word, line or delta."`
	Rate   *float64 `placeholder:"30" help:"Events a second of the demo generator, 30 unless given; 0 for all at once."`
	Seed   *uint64  `help:"Seed of the demo generator, for the same text again; 0 for any."`
	Length *int     `help:"Length of the demo generator's text, in words; 0 for a short answer."`
}

// Validate refuses what a model would not be told. Kong calls it.
func (c *askCommand) Validate() error {
	if c.Model == server.DemoModel {
		return nil
	}
	for _, option := range [...]struct {
		flag  string
		given bool
	}{{"rate", c.Rate != nil}, {"seed", c.Seed != nil}, {"length", c.Length != nil}} {
		if option.given {
			return fmt.Errorf("only the demo generator has --%s", option.flag)
		}
	}
	return nil
}

func (c *askCommand) Run(ctx context.Context, s streams) error {
	prompt, err := c.prompt(s)
	if err != nil {
		return err
	}
	body := map[string]any{"unit": c.Unit}
	if c.Model == server.DemoModel {
		source := map[string]any{"type": "generate", "prompt": prompt, "seed": rand.Uint64()}
		if c.Seed != nil && *c.Seed != 0 {
			source["seed"] = *c.Seed
		}
		if c.Length != nil {
			source["length"] = *c.Length
		}
		body["source"], body["rate"] = source, demoRate
		if c.Rate != nil {
			body["rate"] = *c.Rate
		}
	} else {
		message := map[string]string{"role": "user", "content": prompt}
		body["source"] = map[string]any{"type": "upstream", "model": c.Model, "messages": []any{message}}
	}
	relay := newClient(c.Server)
	id, err := relay.create(ctx, body)
	if err != nil {
		return err
	}
	return typeOut(ctx, s, relay, id, 0)
}

func (c *askCommand) prompt(s streams) (string, error) {
	if len(c.Prompt) > 0 {
		return strings.Join(c.Prompt, " "), nil
	}
	if isTerminal(s.in) {
		fmt.Fprint(s.err, "Ask: ")
	}
	line, _ := bufio.NewReader(s.in).ReadString('\n')
	if line = strings.TrimSpace(line); line == "" {
		return "", errors.New("there is no prompt: give one, as in ask \"Why tides?\"")
	}
	return line, nil
}
