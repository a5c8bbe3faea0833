// Command servebench loads a running server and reports what its clients see:
// tokens per second, time to first token and time between tokens.
//
//	servebench -url http://127.0.0.1:30000 -streams 8 -adapters lora0,lora1,lora2,- -requests 64
//
// It keeps a number of streams busy (closed loop); each request takes the next
// adapter of the list, "-" being the base model. Every answer has exactly
// -tokens tokens (ignore_eos), so that runs compare.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

type options struct {
	url      string
	streams  int
	requests int
	tokens   int
	prompt   string
	adapters []string
	json     bool
}

func main() {
	var o options
	var adapters string
	flag.StringVar(&o.url, "url", "http://127.0.0.1:30000", "server")
	flag.IntVar(&o.streams, "streams", 1, "requests kept running")
	flag.IntVar(&o.requests, "requests", 16, "requests in all")
	flag.IntVar(&o.tokens, "tokens", 64, "tokens of each answer")
	flag.StringVar(&o.prompt, "prompt", "List 3 countries and their capitals.", "prompt of every request")
	flag.StringVar(&adapters, "adapters", "-", "adapters in turn, separated by commas; - is the base model")
	flag.BoolVar(&o.json, "json", false, "print one JSON object")
	flag.Parse()
	o.adapters = strings.Split(adapters, ",")
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "servebench:", err)
		os.Exit(1)
	}
}

// timing is when the tokens of one answer arrived, from its request on.
type timing struct {
	first time.Duration
	gaps  []time.Duration
}

// report is the result of a run. Times are in milliseconds.
type report struct {
	Streams         int     `json:"streams"`
	Requests        int     `json:"requests"`
	Adapters        string  `json:"adapters"`
	Tokens          int     `json:"tokens"`
	Seconds         float64 `json:"seconds"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	FirstP50        float64 `json:"first_token_ms_p50"`
	FirstP99        float64 `json:"first_token_ms_p99"`
	GapP50          float64 `json:"token_gap_ms_p50"`
	GapP99          float64 `json:"token_gap_ms_p99"`
}

func run(o options, w io.Writer) error {
	next := make(chan string)
	go func() {
		defer close(next)
		for i := range o.requests {
			next <- o.adapters[i%len(o.adapters)]
		}
	}()
	var mu sync.Mutex
	var timings []timing
	var failures error
	var group sync.WaitGroup
	begin := time.Now()
	for range o.streams {
		group.Go(func() {
			for adapter := range next {
				t, err := generate(context.Background(), o, adapter)
				mu.Lock()
				timings = append(timings, t)
				failures = errors.Join(failures, err)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if failures != nil {
		return failures
	}
	return summarize(o, timings, time.Since(begin)).print(w, o.json)
}

// generate streams one answer.
func generate(ctx context.Context, o options, adapter string) (timing, error) {
	body := map[string]any{
		"text": o.prompt, "stream": true,
		"sampling_params": map[string]any{"max_new_tokens": o.tokens, "temperature": 0, "ignore_eos": true},
	}
	if adapter != "-" {
		body["lora_path"] = adapter
	}
	text, err := json.Marshal(body)
	if err != nil {
		return timing{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url+"/generate", bytes.NewReader(text))
	if err != nil {
		return timing{}, err
	}
	begin := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return timing{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		message, _ := io.ReadAll(response.Body)
		return timing{}, fmt.Errorf("%s: %s", response.Status, message)
	}
	return readStream(response.Body, begin, o.tokens)
}

// readStream times the tokens of a stream of events with cumulative output_ids.
func readStream(r io.Reader, begin time.Time, want int) (timing, error) {
	var t timing
	seen, last := 0, begin
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var event struct {
			IDs   []int32 `json:"output_ids"`
			Error *struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return t, fmt.Errorf("event %q: %w", data, err)
		}
		if event.Error != nil {
			return t, errors.New(event.Error.Message)
		}
		now := time.Now()
		for ; seen < len(event.IDs); seen++ {
			if seen == 0 {
				t.first = now.Sub(begin)
			} else {
				t.gaps = append(t.gaps, now.Sub(last))
			}
			last = now
		}
	}
	if err := lines.Err(); err != nil {
		return t, err
	}
	if seen != want {
		return t, fmt.Errorf("an answer of %d tokens, expected %d", seen, want)
	}
	return t, nil
}

func summarize(o options, timings []timing, took time.Duration) report {
	var first, gaps []time.Duration
	for _, t := range timings {
		first = append(first, t.first)
		gaps = append(gaps, t.gaps...)
	}
	tokens := len(first) + len(gaps)
	return report{
		Streams: o.streams, Requests: o.requests, Adapters: strings.Join(o.adapters, ","),
		Tokens: tokens, Seconds: took.Seconds(), TokensPerSecond: float64(tokens) / took.Seconds(),
		FirstP50: quantile(first, 0.5), FirstP99: quantile(first, 0.99),
		GapP50: quantile(gaps, 0.5), GapP99: quantile(gaps, 0.99),
	}
}

// quantile is in milliseconds; 0 for an empty list.
func quantile(list []time.Duration, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return float64(list[int(q*float64(len(list)-1))]) / float64(time.Millisecond)
}

func (r report) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	_, err := fmt.Fprintf(w, "%d streams, %d requests over %s: %d tokens in %.2f s = %.1f tokens/s; first token p50 %.1f ms, p99 %.1f ms; between tokens p50 %.2f ms, p99 %.2f ms\n",
		r.Streams, r.Requests, r.Adapters, r.Tokens, r.Seconds, r.TokensPerSecond, r.FirstP50, r.FirstP99, r.GapP50, r.GapP99)
	return err
}
