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

type askCommand struct {
	serverFlag
	Prompt []string `arg:"" optional:"" help:"What to ask. Without it, a line of standard input is asked."`
	Model  string   `default:"demo" help:"A model of the relay; demo is its own generator, which needs no key."`
	Unit   string   `default:"token" help:"What the text is cut into: rune, grapheme, token, word, line or delta."`
	Rate   float64  `default:"30" help:"Events a second of the demo generator; 0 for all at once."`
	Seed   uint64   `help:"Seed of the demo generator, for the same text again; 0 for any."`
	Length int      `help:"Length of the generated text, in words; 0 for a short answer."`
}

func (c *askCommand) Run(ctx context.Context, s streams) error {
	prompt, err := c.prompt(s)
	if err != nil {
		return err
	}
	body := map[string]any{"unit": c.Unit}
	if c.Model == server.DemoModel {
		seed := c.Seed
		if seed == 0 {
			seed = rand.Uint64()
		}
		body["rate"] = c.Rate
		body["source"] = map[string]any{"type": "generate", "prompt": prompt, "seed": seed, "length": c.Length}
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
