package contract_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/responses"
)

// newOpenAI is the SDK as it comes, asking the relay at an address. It does not
// ask again by itself, so that a test sees each connection that is lost.
func newOpenAI(address string, options ...option.RequestOption) openai.Client {
	return openai.NewClient(append([]option.RequestOption{
		option.WithBaseURL(address + "/v1"), option.WithAPIKey("none is needed"), option.WithHTTPClient(http1), option.WithMaxRetries(0),
	}, options...)...)
}

// question is what the tests ask for; more are fields that the SDK does not know.
func question(model string, background bool, more map[string]any) responses.ResponseNewParams {
	params := responses.ResponseNewParams{
		Model:      model,
		Input:      responses.ResponseNewParamsInputUnion{OfString: openai.String("x")},
		Background: openai.Bool(background),
	}
	params.SetExtraFields(more)
	return params
}

// A response is what was seen of one.
type response struct {
	raw  []string // events, as they came
	id   string
	last responses.ResponseStreamEventUnion
}

// take reads a stream into the response, and returns its error. It fails if the
// stream stops before its end without one.
func (r *response) take(t *testing.T, stream *ssestream.Stream[responses.ResponseStreamEventUnion]) error {
	t.Helper()
	defer stream.Close()
	for stream.Next() {
		r.last = stream.Current()
		if got, want := r.last.SequenceNumber, int64(len(r.raw)); got != want {
			t.Fatalf("sequence_number = %d, want %d", got, want)
		}
		r.raw = append(r.raw, r.last.RawJSON())
		if r.id == "" {
			r.id = r.last.Response.ID
		}
	}
	if stream.Err() == nil && !r.ended() {
		t.Fatalf("the stream stops after %s, without an error", r.last.Type)
	}
	return stream.Err()
}

func (r *response) ended() bool {
	return slices.Contains([]string{"response.completed", "response.incomplete", "response.failed"}, r.last.Type)
}

// text is that of the deltas.
func (r *response) text() string {
	var text strings.Builder
	for _, raw := range r.raw {
		var e struct{ Type, Delta string }
		json.Unmarshal([]byte(raw), &e)
		if e.Type == "response.output_text.delta" {
			text.WriteString(e.Delta)
		}
	}
	return text.String()
}

// isLost reports whether an error is that of a connection: the head did not
// come, or not whole, or what follows broke off.
func isLost(err error) bool {
	_, head := errors.AsType[*url.Error](err)
	return head && !errors.Is(err, context.DeadlineExceeded) || isBroken(err)
}

// resume reads a response to its end with GetStreaming and starting_after, and
// returns how many streams were lost.
func (r *response) resume(t *testing.T, ctx context.Context, client openai.Client) (lost int) {
	t.Helper()
	for ; !r.ended(); lost++ {
		var after responses.ResponseGetParams
		if len(r.raw) > 0 {
			after.StartingAfter = openai.Int(r.last.SequenceNumber)
		}
		if err := r.take(t, client.Responses.GetStreaming(ctx, r.id, after)); err != nil && !isLost(err) {
			t.Fatal(err)
		}
	}
	return lost
}

// isWhole fails unless the response has completed with that text.
func (r *response) isWhole(t *testing.T, want string) {
	t.Helper()
	if r.last.Type != "response.completed" || r.last.Response.Status != responses.ResponseStatusCompleted {
		t.Errorf("last event = %s, %s, want response.completed", r.last.Type, r.last.Response.Status)
	}
	if got := r.text(); got != want {
		t.Errorf("text of the deltas = %d bytes, want %d", len(got), len(want))
	}
	if got := r.last.Response.OutputText(); got != want {
		t.Errorf("text of the response = %d bytes, want %d", len(got), len(want))
	}
}

func TestOpenAIGoResponsesUnderCuts(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	random := newRand(t)
	want := newText(random, 4000)
	p := newProvider(t, random, want)
	r := start(t, p.flag())
	runes := map[string]any{"tokenrelay": map[string]any{"unit": "rune"}}

	c := newCutter(t, r, random, 60, 8000)
	c.first = 4000 // until there is an event: without one there is nothing to resume
	client := newOpenAI(c.url)
	var running response
	if err := running.take(t, client.Responses.NewStreaming(ctx, question("own/whole", true, runes))); !isLost(err) {
		t.Fatalf("first stream ended with %v, want a lost connection", err)
	}
	lost := 1 + running.resume(t, ctx, client)
	running.isWhole(t, want)
	t.Logf("running: %d cuts, %d of them in mid-event, %d streams, %d events", c.made, c.inEvent, lost, len(running.raw))
	if c.made < 50 {
		t.Errorf("cuts = %d, want at least 50", c.made)
	}
	if got := p.times("whole"); got != 1 {
		t.Errorf("the provider was asked %d times, want 1", got)
	}
	if got := running.last.Response.Usage; got.InputTokens != 7 || got.OutputTokens != 1234 || got.TotalTokens != 1241 {
		t.Errorf("usage = %s", got.RawJSON())
	}

	c = newCutter(t, r, random, 60, 8000)
	ended := response{id: running.id}
	ended.resume(t, ctx, newOpenAI(c.url, option.WithMiddleware(func(request *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		// What it sends is seen by others on the way, since it is unusual.
		body, err := io.ReadAll(request.Body)
		if err != nil || string(body) != `{"stream":true}` || request.URL.Query().Has("stream") || request.URL.Query().Has("starting_after") != (len(ended.raw) > 0) {
			t.Errorf("GET %s with the body %q, %v", request.URL, body, err)
		}
		request.Body = io.NopCloser(bytes.NewReader(body))
		return next(request)
	})))
	t.Logf("ended: %d cuts, %d of them in mid-event", c.made, c.inEvent)
	if !slices.Equal(ended.raw, running.raw) {
		t.Errorf("%d events of the ended response, want the same %d as those of the running one", len(ended.raw), len(running.raw))
	}
	if c.made < 50 {
		t.Errorf("cuts = %d, want at least 50", c.made)
	}
}

func TestOpenAIGoResponsesOverRestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	random := newRand(t)
	r := start(t)
	demo := map[string]any{"tokenrelay": map[string]any{"unit": "rune", "rate": 1000, "length": 100, "seed": 9}}
	client := newOpenAI(r.url)
	at := 20 + random.IntN(300)
	var seen response
	stream := client.Responses.NewStreaming(ctx, question("demo", true, demo))
	for len(seen.raw) < at && stream.Next() {
		seen.last = stream.Current()
		seen.raw = append(seen.raw, seen.last.RawJSON())
		if seen.id == "" {
			seen.id = seen.last.Response.ID
		}
	}
	r.restart()
	if err := seen.take(t, stream); !isLost(err) {
		t.Fatalf("stream over the restart ended with %v, want a lost connection", err)
	}
	before := len(seen.raw)
	seen.resume(t, ctx, client)
	t.Logf("killed at event %d, seen %d of %d", at, before, len(seen.raw))
	whole, err := client.Responses.New(ctx, question("demo", false, map[string]any{"tokenrelay": map[string]any{"length": 100, "seed": 9}}))
	if err != nil {
		t.Fatal(err)
	}
	seen.isWhole(t, whole.OutputText())
}

func TestOpenAIGoCancelAndDelete(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	r := start(t)
	client := newOpenAI(r.url, option.WithMaxRetries(2))
	slow := map[string]any{"tokenrelay": map[string]any{"rate": 200, "length": 5000}}
	var seen response
	stream := client.Responses.NewStreaming(ctx, question("demo", true, slow))
	for len(seen.raw) < 20 && stream.Next() {
		seen.last = stream.Current()
		seen.raw = append(seen.raw, seen.last.RawJSON())
		seen.id = cmp.Or(seen.id, seen.last.Response.ID)
	}
	cancelled, err := client.Responses.Cancel(ctx, seen.id)
	if err != nil || cancelled.Status != responses.ResponseStatusCancelled {
		t.Fatalf("cancel = %v, %v, want cancelled", cancelled, err)
	}
	if err := seen.take(t, stream); err != nil || seen.last.Type != "response.incomplete" || seen.last.Response.Status != responses.ResponseStatusCancelled {
		t.Errorf("live stream ended with %v, %s %s, want response.incomplete cancelled", err, seen.last.Type, seen.last.Response.Status)
	}
	if got, want := seen.last.Response.OutputText(), seen.text(); got != want || want == "" {
		t.Errorf("text of the cancelled response = %q, want %q", got, want)
	}
	again, err := client.Responses.Cancel(ctx, seen.id)
	if err != nil || again.RawJSON() != cancelled.RawJSON() {
		t.Errorf("second cancel = %v, %v, want the same as the first", again, err)
	}
	kept, err := client.Responses.Get(ctx, seen.id, responses.ResponseGetParams{})
	if err != nil || kept.RawJSON() != cancelled.RawJSON() {
		t.Errorf("get = %v, %v, want the same as cancel", kept, err)
	}
	if err := client.Responses.Delete(ctx, seen.id); err != nil {
		t.Errorf("delete: %v", err)
	}
	_, err = client.Responses.Get(ctx, seen.id, responses.ResponseGetParams{})
	isError(t, err, http.StatusNotFound, "session_not_found", "")
	err = client.Responses.GetStreaming(ctx, seen.id, responses.ResponseGetParams{}).Err()
	isError(t, err, http.StatusNotFound, "session_not_found", "")
	_, err = client.Responses.New(ctx, question("gpt-5", false, nil))
	isError(t, err, http.StatusNotFound, "model_not_found", "model")
	_, err = client.Responses.New(ctx, question("demo", false, map[string]any{"conversation": "conv_1"}))
	isError(t, err, http.StatusBadRequest, "unsupported_parameter", "conversation")
}

// isError fails unless err is the SDK's own with that status, code and param.
func isError(t *testing.T, err error, status int, code, param string) {
	t.Helper()
	told, ok := errors.AsType[*openai.Error](err)
	if !ok || told.StatusCode != status || told.Code != code || told.Param != param {
		t.Errorf("error = %v (%+v), want %d, code %q, param %q", err, told, status, code, param)
	}
}

func TestOpenAIGoSeesABrokenUpstream(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	random := newRand(t)
	text := newText(random, 300)
	p := newProvider(t, random, text)
	r := start(t, p.flag())
	client := newOpenAI(r.url, option.WithMaxRetries(2))

	var seen response
	if err := seen.take(t, client.Responses.NewStreaming(ctx, question("own/broken", false, nil))); err != nil {
		t.Fatal(err)
	}
	failed := seen.last.Response
	if seen.last.Type != "response.failed" || failed.Status != responses.ResponseStatusFailed || failed.Error.Code == "" || failed.Error.Message == "" {
		t.Errorf("last event = %s, want response.failed with its error", seen.last.RawJSON())
	}
	if got := seen.text(); !strings.HasPrefix(text, got) {
		t.Errorf("text = %q, want a beginning of %q", got, text)
	}
	_, err := client.Responses.New(ctx, question("own/broken", false, nil))
	isError(t, err, http.StatusBadGateway, "upstream_truncated", "")

	params := openai.ChatCompletionNewParams{Model: "own/broken", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("x")}}
	stream := client.Chat.Completions.NewStreaming(ctx, params)
	for stream.Next() {
		for _, choice := range stream.Current().Choices {
			if choice.FinishReason != "" {
				t.Errorf("finish_reason = %q of a broken answer", choice.FinishReason)
			}
		}
	}
	if _, ok := errors.AsType[*ssestream.StreamError](stream.Err()); !ok || !strings.Contains(stream.Err().Error(), "upstream_truncated") {
		t.Errorf("stream ended with %v, want upstream_truncated", stream.Err())
	}
	_, err = client.Chat.Completions.New(ctx, params)
	isError(t, err, http.StatusBadGateway, "upstream_truncated", "")
	if got := p.times("broken"); got != 4 {
		t.Errorf("the provider was asked %d times, want 4: once for each", got)
	}
}

func TestOpenAIGoChat(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	random := newRand(t)
	want := newText(random, 3000)
	p := newProvider(t, random, want)
	r := start(t, p.flag())
	client := newOpenAI(r.url)
	params := openai.ChatCompletionNewParams{
		Model:         "own/whole",
		Messages:      []openai.ChatCompletionMessageParamUnion{openai.UserMessage("x")},
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
	}
	accumulated := func(client openai.Client, options ...option.RequestOption) (openai.ChatCompletionAccumulator, error) {
		stream := client.Chat.Completions.NewStreaming(ctx, params, options...)
		defer stream.Close()
		var acc openai.ChatCompletionAccumulator
		for stream.Next() {
			if !acc.AddChunk(stream.Current()) {
				t.Fatalf("the accumulator refuses %s", stream.Current().RawJSON())
			}
		}
		return acc, stream.Err()
	}
	acc, err := accumulated(client)
	if err != nil || len(acc.Choices) != 1 {
		t.Fatalf("stream ended with %v, %d choices", err, len(acc.Choices))
	}
	if got := acc.Choices[0]; got.Message.Content != want || got.FinishReason != "stop" || acc.Usage.TotalTokens != 1241 {
		t.Errorf("content of %d bytes, finish_reason %q, %d tokens; want %d bytes, stop, 1241", len(got.Message.Content), got.FinishReason, acc.Usage.TotalTokens, len(want))
	}
	whole, err := client.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{Model: params.Model, Messages: params.Messages})
	if err != nil || whole.Choices[0].Message.Content != want {
		t.Errorf("without a stream: %v, %v, want the text", whole, err)
	}
	var models []string
	for pages := client.Models.ListAutoPaging(ctx); pages.Next(); {
		models = append(models, pages.Current().ID)
	}
	for _, id := range []string{"demo", "own/whole", "own/broken"} {
		if !slices.Contains(models, id) {
			t.Errorf("models = %q, want %q among them", models, id)
		}
		if got, err := client.Models.Get(ctx, id); err != nil || got.ID != id {
			t.Errorf("model %q = %v, %v", id, got, err)
		}
	}

	// A stream that is lost is an error; the session that its head names has the whole.
	c := newCutter(t, r, random, 20, 20_000)
	c.first, c.least = 700, 700 // no cut falls into the head
	lossy := newOpenAI(c.url)
	var reading sync.WaitGroup
	defer reading.Wait()
	for n := range 20 {
		var head *http.Response
		acc, err := accumulated(lossy, option.WithResponseInto(&head))
		if !isLost(err) || head == nil {
			t.Fatalf("stream %d ended with %v, want a lost connection", n, err)
		}
		if len(acc.Choices) > 0 && (!strings.HasPrefix(want, acc.Choices[0].Message.Content) || acc.Choices[0].Message.Content == want) {
			t.Errorf("stream %d: not a beginning of the text", n)
		}
		reading.Go(func() {
			var seen transcript
			followGoSSE(t, r.url+"/v1/sessions/"+head.Header.Get("X-Tokenrelay-Session")+"/events", &seen)
			seen.check(t, want)
		})
	}
}
