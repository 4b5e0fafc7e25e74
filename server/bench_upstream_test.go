package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// BenchmarkUpstream relays paced answers of a provider, each to one reader. The
// floor is the same readers at the provider itself. Chunks carry the time at
// which they were written, so that what the relay adds to it is seen.
func BenchmarkUpstream(b *testing.B) {
	if err := chunker.Load(); err != nil { // as a relay does before it listens
		b.Fatal(err)
	}
	for _, streams := range []int{50, 500} {
		b.Run(fmt.Sprintf("%dstreams", streams), func(b *testing.B) {
			for b.Loop() {
				provider := httptest.NewServer(http.HandlerFunc(stampedAnswer))
				floor := benchStreams(b, streams, func() string { return provider.URL })
				set, err := upstream.New([]upstream.Config{{Name: "p", BaseURL: provider.URL}}, upstream.Options{})
				if err != nil {
					b.Fatal(err)
				}
				relay := startTCP(b, session.Options{Upstreams: set})
				through := benchStreams(b, streams, func() string { return relay.ask(b) })
				relay.stop()
				provider.Close()
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(floor.cpu/1000, "floor-µs/chunk")
				b.ReportMetric(through.cpu/1000, "relay-µs/chunk")
				b.ReportMetric(through.cpu/floor.cpu, "x-floor")
				b.ReportMetric((through.first-floor.first)/1e6, "first-added-ms")
				b.ReportMetric((through.p50-floor.p50)/1e6, "p50-added-ms")
				b.ReportMetric((through.p99-floor.p99)/1e6, "p99-added-ms")
			}
		})
	}
}

// stampedAnswer is a chat completion, each of whose chunks is the time.
func stampedAnswer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w).Flush
	for range benchEvents {
		time.Sleep(time.Second / benchRate)
		fmt.Fprintf(w, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"@%d \"},\"finish_reason\":null}]}\n\n", time.Now().UnixNano())
		flush()
	}
	fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
}

// benchFigures are in nanoseconds: the CPU of a chunk, and how long after it was
// written it was read, at the median for the first of a stream, and for all.
type benchFigures struct{ cpu, first, p50, p99 float64 }

var stamp = regexp.MustCompile(`@(\d+)`)

// benchStreams reads so many streams at once, each of the URL that address gives.
func benchStreams(b *testing.B, streams int, address func() string) benchFigures {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	firsts, delays := make([]float64, streams), make([][]float64, streams)
	var reading sync.WaitGroup
	began := cpuTime()
	for i := range streams {
		reading.Go(func() {
			response, err := (&http.Client{Transport: transport}).Get(address())
			if err != nil {
				b.Error(err)
				return
			}
			defer response.Body.Close()
			lines := bufio.NewScanner(response.Body)
			for lines.Scan() {
				if at := stamp.FindSubmatch(lines.Bytes()); at != nil {
					written, _ := strconv.ParseInt(string(at[1]), 10, 64)
					delays[i] = append(delays[i], float64(time.Now().UnixNano()-written))
				}
			}
			if len(delays[i]) != benchEvents {
				b.Errorf("%d chunks, want %d: %v", len(delays[i]), benchEvents, lines.Err())
				return
			}
			firsts[i] = delays[i][0]
		})
	}
	reading.Wait()
	spent := float64(cpuTime()-began) / float64(streams*benchEvents)
	all := slices.Concat(delays...)
	slices.Sort(all)
	slices.Sort(firsts)
	if len(all) == 0 {
		b.FailNow()
	}
	return benchFigures{cpu: spent, first: firsts[len(firsts)/2], p50: all[len(all)/2], p99: all[len(all)*99/100]}
}

// ask asks the provider, and returns where its answer is read.
func (r *tcpRelay) ask(b *testing.B) string {
	s, err := r.manager.Create(b.Context(), session.Anonymous, session.Spec{Unit: chunker.Delta, Source: session.SourceSpec{
		Type: session.SourceUpstream, Model: "m", Messages: json.RawMessage(`[{"role":"user","content":"time"}]`)}})
	if err != nil {
		b.Error(err)
		return ""
	}
	return fmt.Sprintf("http://%s/v1/sessions/%s/events", r.addr, s.Info().ID)
}
