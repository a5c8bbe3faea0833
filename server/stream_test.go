package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lorikeet/server/engine"
)

// stream posts a body and returns its events, without the [DONE] that must end them.
func (r *rig) stream(body string) []any {
	r.t.Helper()
	status, text := r.do(http.MethodPost, "/generate", body)
	require.Equal(r.t, http.StatusOK, status, text)
	return eventsOf(r.t, text)
}

// eventsOf reads a stream, without the [DONE] that must end it.
func eventsOf(t *testing.T, text string) []any {
	t.Helper()
	var events []any
	parts := strings.Split(strings.TrimSuffix(text, "\n\n"), "\n\n")
	for i, part := range parts {
		data, ok := strings.CutPrefix(part, "data: ")
		require.True(t, ok, part)
		if i == len(parts)-1 {
			require.Equal(t, "[DONE]", data)
			break
		}
		var v any
		require.NoError(t, json.Unmarshal([]byte(data), &v), data)
		events = append(events, v)
	}
	return events
}

func TestStreamIsCumulative(t *testing.T) {
	r := newRig(t)
	events := r.stream(`{"text":"abc","stream":true,"sampling_params":{"max_new_tokens":3},"return_logprob":true}`)
	require.Len(t, events, 3)
	for i, e := range events {
		require.Equal(t, "abc"[:i+1], get(t, e, "text"))
		require.Len(t, get(t, e, "output_ids"), i+1)
		require.Len(t, get(t, e, "meta_info", "output_token_logprobs"), i+1)
		require.NotContains(t, e, "index")
		if i < 2 {
			require.Nil(t, get(t, e, "meta_info", "finish_reason"))
			require.NotContains(t, get(t, e, "meta_info"), "e2e_latency")
		}
	}
	require.Equal(t, "length", get(t, events[2], "meta_info", "finish_reason", "type"))
}

// TestStreamOfNews wants of each event what those before it did not have, and of all together what an answer in one piece has.
func TestStreamOfNews(t *testing.T) {
	r := newRig(t, func(c *Config) { c.StreamsNews = true })
	for _, body := range []string{
		`{"text":"abc",%s"sampling_params":{"max_new_tokens":3},"return_logprob":true,"top_logprobs_num":2,"token_ids_logprob":[1]}`,
		`{"text":"xSTyzSTOPz",%s"sampling_params":{"max_new_tokens":10,"stop":"STOP"}}`,
	} {
		_, text := r.do(http.MethodPost, "/generate", fmt.Sprintf(body, ""))
		var whole any
		require.NoError(t, json.Unmarshal([]byte(text), &whole))
		events := r.stream(fmt.Sprintf(body, `"stream":true,`))
		require.Greater(t, len(events), 2)
		last := events[len(events)-1]
		for _, path := range [][]any{
			{"output_ids"}, {"meta_info", "output_token_logprobs"}, {"meta_info", "output_top_logprobs"}, {"meta_info", "output_token_ids_logprobs"},
		} {
			if path[0] == "meta_info" && !strings.Contains(body, "return_logprob") {
				continue
			}
			joined := []any{}
			for _, e := range events {
				joined = append(joined, get(t, e, path...).([]any)...)
			}
			require.Equal(t, get(t, whole, path...), joined, path)
		}
		var joined strings.Builder
		for _, e := range events {
			joined.WriteString(get(t, e, "text").(string))
		}
		require.Equal(t, get(t, whole, "text"), joined.String())
		require.Equal(t, get(t, whole, "meta_info", "completion_tokens"), get(t, last, "meta_info", "completion_tokens"))
		require.Equal(t, get(t, whole, "meta_info", "finish_reason"), get(t, last, "meta_info", "finish_reason"))
	}
	r.engine.script = func(request engine.Request) []engine.Update { // as a client that is slow finds them
		var pairs []engine.Update
		for i, u := range echo(request) {
			if i%2 == 0 {
				pairs = append(pairs, engine.Update{})
			}
			last := &pairs[len(pairs)-1]
			last.Tokens, last.Finish = append(last.Tokens, u.Tokens...), u.Finish
		}
		return pairs
	}
	events := r.stream(`{"text":"abcde","stream":true,"sampling_params":{"max_new_tokens":5}}`)
	require.Len(t, events, 3)
	for i, want := range []string{"ab", "cd", "e"} {
		require.Equal(t, want, get(t, events[i], "text"))
		require.Len(t, get(t, events[i], "output_ids"), len(want))
	}
	r.engine.script = nil
	texts := map[any]string{}
	for _, e := range r.stream(`{"text":["ab","cde"],"stream":true,"sampling_params":{"max_new_tokens":3,"n":2}}`) {
		texts[get(t, e, "index")] += get(t, e, "text").(string)
	}
	require.Equal(t, map[any]string{0.0: "aba", 1.0: "aba", 2.0: "cde", 3.0: "cde"}, texts, "each answer's news are its own")
}

func TestStreamOfABatch(t *testing.T) {
	r := newRig(t)
	events := r.stream(`{"text":["ab","cd"],"stream":true,"sampling_params":{"max_new_tokens":2}}`)
	require.Len(t, events, 4)
	last := map[float64]any{}
	for _, e := range events {
		last[get(t, e, "index").(float64)] = get(t, e, "text")
	}
	require.Equal(t, map[float64]any{0: "ab", 1: "cd"}, last)
}

func TestStreamHoldsBackWhatMayBecomeAStopString(t *testing.T) {
	r := newRig(t)
	events := r.stream(`{"text":"xSTyz","stream":true,"sampling_params":{"max_new_tokens":5,"stop":"STOP"}}`)
	var texts []any
	for _, e := range events {
		texts = append(texts, get(t, e, "text"))
	}
	require.Equal(t, []any{"x", "x", "x", "xSTy", "xSTyz"}, texts)

	events = r.stream(`{"text":"xSTOPyz","stream":true,"sampling_params":{"max_new_tokens":7,"stop":"STOP"}}`)
	require.Len(t, events, 5)
	for _, e := range events {
		require.Equal(t, "x", get(t, e, "text"))
	}
	require.Equal(t, "STOP", get(t, events[4], "meta_info", "finish_reason", "matched"))

	events = r.stream(`{"text":"xST","stream":true,"sampling_params":{"max_new_tokens":3,"stop":"STOP"}}`)
	require.Equal(t, "xST", get(t, events[2], "text"), "what was held back comes when nothing follows")
}

func TestStreamKeepsCharactersWhole(t *testing.T) {
	r := newRig(t)
	events := r.stream(`{"text":"é€","stream":true,"sampling_params":{"max_new_tokens":4}}`)
	var texts []any
	for _, e := range events {
		texts = append(texts, get(t, e, "text"))
	}
	require.Equal(t, []any{"", "é", "é", "é\ufffd"}, texts)
}

func TestAnswerContinuesACharacterOfThePrompt(t *testing.T) {
	r := newRig(t)
	r.engine.script = func(engine.Request) []engine.Update {
		return says([]int32{0xa9, 'x'}, engine.Finish{Reason: engine.FinishLength})
	}
	_, v := r.post(`{"input_ids":[97,195]}`)
	require.Equal(t, "éx", get(t, v, "text"))
}

func TestStreamErrors(t *testing.T) {
	r := newRig(t)
	events := r.stream(`{"text":"a","stream":true,"sampling_params":{"top_p":7}}`)
	require.Equal(t, map[string]any{
		"message": "top_p must be in (0, 1], got 7.", "type": "invalid_request_error", "code": 400.0, "retryable": false,
	}, get(t, events[0], "error"))

	status, _ := r.do(http.MethodPost, "/generate", `{"text":7,"stream":true}`)
	require.Equal(t, http.StatusBadRequest, status, "not a value but the wrong type")

	r.engine.submitErr = engine.ErrBusy
	status, _ = r.do(http.MethodPost, "/generate", `{"text":"a","stream":true}`)
	require.Equal(t, http.StatusServiceUnavailable, status)
	r.engine.submitErr = nil

	r.engine.script = func(engine.Request) []engine.Update {
		return says([]int32{'a', 'b'}, engine.Finish{Reason: engine.FinishAbort, Message: "lost", Status: 503})
	}
	events = r.stream(`{"text":"a","stream":true}`)
	require.Equal(t, map[string]any{"message": "lost", "type": "server_error", "code": 503.0, "retryable": true},
		get(t, events[len(events)-1], "error"))
}

// forever says one token and never ends.
func forever(engine.Request) []engine.Update {
	return []engine.Update{{Tokens: []engine.Token{{ID: 'a'}}}}
}

func TestDisconnectAborts(t *testing.T) {
	for _, stream := range []bool{false, true} {
		r := newRig(t)
		r.engine.script = forever
		ctx, cancel := context.WithCancel(context.Background())
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/generate",
			strings.NewReader(fmt.Sprintf(`{"text":"a","rid":"gone","stream":%v}`, stream)))
		require.NoError(t, err)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			res, err := http.DefaultClient.Do(req)
			if err == nil {
				_, _ = bufio.NewReader(res.Body).ReadString('\n')
				cancel()
				res.Body.Close()
			}
		}()
		require.Eventually(t, func() bool { return r.submitted() == 1 }, 5*time.Second, time.Millisecond)
		if !stream {
			cancel()
		}
		<-ended
		cancel()
		select {
		case <-r.engine.streams[0].cancelled:
		case <-time.After(5 * time.Second):
			t.Fatal("the engine still runs the request of a client that has gone")
		}
		require.Eventually(t, func() bool { return !r.flying("gone") }, 5*time.Second, time.Millisecond)
	}
}

// submitted is how many sequences the engine was given.
func (r *rig) submitted() int {
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	return len(r.engine.streams)
}

// flying says whether a request with this id runs and can be aborted.
func (r *rig) flying(id string) bool {
	r.server.flights.mu.Lock()
	defer r.server.flights.mu.Unlock()
	f := r.server.flights.byID[id]
	return f != nil && f.stream != nil
}

// slowTokenizer waits before it encodes.
type slowTokenizer struct {
	byteTokenizer
	begun, goOn chan struct{}
}

func (t slowTokenizer) Encode(text string, special bool) []int32 {
	close(t.begun)
	<-t.goOn
	return t.byteTokenizer.Encode(text, special)
}

func TestAbortWhileATextIsEncoded(t *testing.T) {
	r := newRig(t)
	r.engine.script = forever
	tokenizer := slowTokenizer{begun: make(chan struct{}), goOn: make(chan struct{})}
	r.server.tokenizer = tokenizer
	answer := make(chan any, 1)
	go func() {
		_, v := r.post(`{"text":"a","rid":"job"}`)
		answer <- v
	}()
	<-tokenizer.begun
	status, _ := r.do(http.MethodPost, "/abort_request", `{"rid":"job"}`)
	require.Equal(t, http.StatusOK, status)
	close(tokenizer.goOn)
	require.Equal(t, "abort", get(t, <-answer, "meta_info", "finish_reason", "type"))
	require.Eventually(t, func() bool { return !r.flying("job") }, 5*time.Second, time.Millisecond)
}

func TestAbortRequestByPrefix(t *testing.T) {
	for _, body := range []string{`{"rid":"job"}`, `{"abort_all":true}`} {
		r := newRig(t)
		r.engine.script = forever
		answer := make(chan any, 1)
		go func() {
			_, v := r.post(`{"text":["a","b"],"rid":"job-1"}`)
			answer <- v
		}()
		require.Eventually(t, func() bool { return r.flying("job-1_1") }, 5*time.Second, time.Millisecond)
		require.Contains(t, r.refused(`{"text":"a","rid":"job-1_1"}`), "Duplicate request ID detected: job-1_1")
		status, _ := r.do(http.MethodPost, "/abort_request", `{"rid":""}`)
		require.Equal(t, http.StatusOK, status)
		status, _ = r.do(http.MethodPost, "/abort_request", `{"rid":"other"}`)
		require.Equal(t, http.StatusOK, status)
		select {
		case <-r.engine.streams[0].cancelled:
			t.Fatal("aborted by an id that is not its own")
		default:
		}
		status, text := r.do(http.MethodPost, "/abort_request", body)
		require.Equal(t, http.StatusOK, status)
		require.Empty(t, text)
		v := <-answer
		for i := range 2 {
			require.Equal(t, "a", get(t, v, i, "text"))
			require.Equal(t, "abort", get(t, v, i, "meta_info", "finish_reason", "type"))
		}
	}
}

func TestDrainIsUnhealthyAndTakesNewWork(t *testing.T) {
	r := newRig(t)
	status, _ := r.do(http.MethodGet, "/health", "")
	require.Equal(t, http.StatusOK, status)
	r.server.Drain()
	for _, path := range []string{"/health", "/health_generate"} {
		status, _ = r.do(http.MethodGet, path, "")
		require.Equal(t, http.StatusServiceUnavailable, status)
	}
	status, _ = r.do(http.MethodPost, "/generate", `{"text":"b"}`)
	require.Equal(t, http.StatusOK, status)
}

// TestStopperAgainstWholeText feeds random text in random pieces: what is seen must be a prefix of the answer at any
// time, and the answer the text before the first stop string.
func TestStopperAgainstWholeText(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	word := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "abc"[random.IntN(3)]
		}
		return string(b)
	}
	for round := range 3000 {
		text := word(random.IntN(30))
		var stops []string
		for range random.IntN(4) {
			stops = append(stops, word(1+random.IntN(5)))
		}
		a := &answer{sampling: &sampling{}, stopper: newStopper(stops)}
		var seen []string
		for rest := text; rest != "" && a.finish == nil; {
			n := 1 + random.IntN(min(4, len(rest)))
			a.addText(rest[:n])
			rest = rest[n:]
			seen = append(seen, a.visible())
		}
		if a.finish == nil {
			a.close(&finishReason{Type: engine.FinishLength})
		}
		for _, s := range append(seen, "") {
			require.True(t, strings.HasPrefix(a.visible(), s), "seed %d round %d: showed %q of %q", seed, round, s, a.visible())
		}
		if a.finish.Type != engine.FinishStop {
			require.Equal(t, text, a.visible(), "seed %d round %d", seed, round)
			for _, stop := range stops {
				require.NotContains(t, text, stop, "seed %d round %d", seed, round)
			}
			continue
		}
		matched := a.finish.Matched.(string)
		require.Contains(t, stops, matched)
		require.True(t, strings.HasPrefix(text, a.visible()+matched), "seed %d round %d: %q cut to %q by %q", seed, round, text, a.visible(), matched)
	}
}
