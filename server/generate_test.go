package server

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lorikeet/lora"
	"lorikeet/server/engine"
)

func TestGenerateOne(t *testing.T) {
	r := newRig(t)
	status, v := r.post(`{"text":"ab","sampling_params":{"max_new_tokens":5,"temperature":0},"unknown_key":{"x":1}}`)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "ababa", get(t, v, "text"))
	require.Equal(t, []any{97.0, 98.0, 97.0, 98.0, 97.0}, get(t, v, "output_ids"))
	meta := get(t, v, "meta_info").(map[string]any)
	require.Equal(t, map[string]any{"type": "length", "length": 5.0}, meta["finish_reason"])
	require.Equal(t, 2.0, meta["prompt_tokens"])
	require.Equal(t, 5.0, meta["completion_tokens"])
	require.Equal(t, 0.0, meta["cached_tokens"])
	require.Equal(t, "default", meta["weight_version"])
	require.Len(t, meta["id"], 32)
	require.Greater(t, meta["e2e_latency"], 0.0)
	require.NotContains(t, meta, "input_token_logprobs")
	require.NotContains(t, v, "index")
	require.NotContains(t, v, "prompt_token_ids")
	require.Contains(t, r.log.String(), `"completion_tokens":5`)
	require.Equal(t, 1, strings.Count(r.log.String(), "\n"))
}

func TestGenerateAcceptsPutAndIDs(t *testing.T) {
	r := newRig(t)
	status, text := r.do(http.MethodPut, "/generate", `{"input_ids":[97,98.0],"sampling_params":{"max_new_tokens":2},"return_prompt_token_ids":true}`)
	require.Equal(t, http.StatusBadRequest, status, "a float is not an id: %s", text)
	status, text = r.do(http.MethodPut, "/generate", `{"input_ids":[97,98],"text":"zz","sampling_params":{"max_new_tokens":2},"return_prompt_token_ids":true}`)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, text, `"text":"ab"`, "input_ids win over text")
	require.Contains(t, text, `"prompt_token_ids":[97,98]`)
}

func TestGenerateBatchWithAdapters(t *testing.T) {
	for _, c := range []struct {
		path string
		want []string
	}{
		{`["lora0",null]`, []string{"lora0", ""}},
		{`["lora0","lora1"]`, []string{"lora0", "lora1"}},
		{`"lora1"`, []string{"lora1", "lora1"}},
		{`null`, []string{"", ""}},
		{`""`, []string{"", ""}},
		{`[]`, []string{"", ""}},
	} {
		r := newRig(t)
		status, v := r.post(`{"text":["a","b"],"sampling_params":{"max_new_tokens":1},"lora_path":` + c.path + `}`)
		require.Equal(t, http.StatusOK, status, v)
		require.Equal(t, "a", get(t, v, 0, "text"))
		require.Equal(t, "b", get(t, v, 1, "text"))
		require.Equal(t, c.want, []string{r.engine.submitted[0].Adapter, r.engine.submitted[1].Adapter}, c.path)
	}
}

func TestListOfOneAnswersAList(t *testing.T) {
	r := newRig(t)
	_, v := r.post(`{"text":["a"],"sampling_params":[{"max_new_tokens":1}],"rid":"mine"}`)
	require.Equal(t, "mine", get(t, v, 0, "meta_info", "id"))
}

func TestParallelSampling(t *testing.T) {
	r := newRig(t)
	_, v := r.post(`{"text":["a","b"],"rid":["x","y"],"sampling_params":{"max_new_tokens":1,"n":3,"sampling_seed":7}}`)
	require.Len(t, v, 6)
	for i, want := range []string{"a", "a", "a", "b", "b", "b"} {
		require.Equal(t, want, get(t, v, i, "text"))
		require.Equal(t, uint64(7+i%3), r.engine.submitted[i].Sampling.Seed)
	}
	require.Equal(t, "y_2", get(t, v, 5, "meta_info", "id"))

	_, v = r.post(`{"text":"a","rid":"r","sampling_params":{"max_new_tokens":1,"n":2}}`)
	require.Equal(t, "r_1", get(t, v, 1, "meta_info", "id"))
	n := len(r.engine.submitted)
	require.NotEqual(t, r.engine.submitted[n-1].Sampling.Seed, r.engine.submitted[n-2].Sampling.Seed)
}

func TestSamplingReachesTheEngine(t *testing.T) {
	for _, c := range []struct {
		params string
		want   engine.Sampling
	}{
		{`{}`, engine.Sampling{MaxNewTokens: 128, Temperature: 1, TopP: 1}},
		{`{"temperature":null,"top_p":null,"top_k":null,"n":null,"stop":null,"regex":"","logit_bias":{}}`, engine.Sampling{MaxNewTokens: 128, Temperature: 1, TopP: 1}},
		{`{"temperature":1e-7,"top_k":5}`, engine.Sampling{MaxNewTokens: 128, TopP: 1, TopK: 5}},
		{`{"temperature":0.5,"top_p":0.25,"min_p":0.125,"top_k":-1,"min_new_tokens":0,"max_new_tokens":4,"ignore_eos":true,"stop_token_ids":[3,null,-1,9000000000,4]}`,
			engine.Sampling{MaxNewTokens: 4, Temperature: 0.5, TopP: 0.25, MinP: 0.125, IgnoreEOS: true, StopTokens: []int32{3, 4}}},
		{`{"min_new_tokens":2,"frequency_penalty":0.5,"presence_penalty":-1,"repetition_penalty":1.25,"logit_bias":{"5":-100,"0":1.5}}`, engine.Sampling{
			MaxNewTokens: 128, Temperature: 1, TopP: 1,
			MinNewTokens: 2, FrequencyPenalty: 0.5, PresencePenalty: -1, RepetitionPenalty: 1.25, Bias: map[int32]float32{5: -100, 0: 1.5},
		}},
		{`{"max_new_tokens":null}`, engine.Sampling{MaxNewTokens: fakeContext - 1, Temperature: 1, TopP: 1}},
		{`{"top_k":1073741824,"top_p":1e-60,"spaces_between_special_tokens":false,"custom_params":{"a":1}}`,
			engine.Sampling{MaxNewTokens: 128, Temperature: 1, TopP: math.SmallestNonzeroFloat32}},
	} {
		r := newRig(t)
		status, v := r.post(`{"text":"a","sampling_params":` + c.params + `}`)
		require.Equal(t, http.StatusOK, status, v)
		got := r.engine.last(t).Sampling
		got.Seed = 0
		require.Equal(t, c.want, got, c.params)
	}
}

func TestSeedsHave64Bits(t *testing.T) {
	r := newRig(t)
	for text, want := range map[string]uint64{
		"9223372036854775807": math.MaxInt64, "9007199254740993": 1<<53 + 1, "-2": math.MaxUint64 - 1, "3.0": 3,
	} {
		status, v := r.post(`{"text":"a","sampling_params":{"sampling_seed":` + text + `}}`)
		require.Equal(t, http.StatusOK, status, v)
		require.Equal(t, want, r.engine.last(t).Sampling.Seed)
	}
}

func TestRandomSeedDecidesSeeds(t *testing.T) {
	seeds := func(seed uint64) (all []uint64) {
		r := newRig(t, func(c *Config) { c.RandomSeed = seed })
		for range 3 {
			r.post(`{"text":"a"}`)
			all = append(all, r.engine.last(t).Sampling.Seed)
		}
		return all
	}
	require.Equal(t, seeds(3), seeds(3))
	require.NotEqual(t, seeds(3), seeds(4))
}

func TestDefaultLengthIsCutToTheContext(t *testing.T) {
	r := newRig(t)
	prompt := strings.Repeat("a", fakeContext-10)
	status, _ := r.post(`{"text":"` + prompt + `"}`)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, 10, r.engine.last(t).Sampling.MaxNewTokens)

	r = newRig(t, func(c *Config) { c.AllowAutoTruncate = true })
	status, _ = r.post(`{"text":"` + strings.Repeat("a", fakeContext+5) + `","sampling_params":{"max_new_tokens":50}}`)
	require.Equal(t, http.StatusOK, status)
	require.Len(t, r.engine.last(t).Prompt, fakeContext-1)
	require.Equal(t, 1, r.engine.last(t).Sampling.MaxNewTokens)

	r = newRig(t, func(c *Config) { c.AllowAutoTruncate, c.ContextLength = true, 5000 })
	status, _ = r.post(`{"text":"` + strings.Repeat("a", 4500) + `"}`)
	require.Equal(t, http.StatusOK, status)
	require.Len(t, r.engine.last(t).Prompt, 4095, "the pool has room for 4096")
	require.Equal(t, 1, r.engine.last(t).Sampling.MaxNewTokens)
	status, _ = r.post(`{"text":"` + strings.Repeat("a", 4500) + `","lora_path":"lora0"}`)
	require.Equal(t, http.StatusOK, status)
	require.Len(t, r.engine.last(t).Prompt, 4500, "how much of the pool the adapter takes is for the engine to say")

	r = newRig(t, func(c *Config) { c.AllowAutoTruncate = true })
	v := r.opened("/v1/completions", `{"prompt":"`+strings.Repeat("a", fakeContext+5)+`","max_tokens":1,"echo":true,"logprobs":0}`)
	require.Equal(t, 0.0, get(t, v, "choices", 0, "logprobs", "text_offset", 0))
}

func TestStopToken(t *testing.T) {
	for _, c := range []struct{ params, text string }{{`{}`, "a"}, {`{"no_stop_trim":true}`, "a!"}} {
		r := newRig(t)
		r.engine.script = func(engine.Request) []engine.Update {
			return says([]int32{'a', '!'}, engine.Finish{Reason: engine.FinishStop, MatchedToken: '!'})
		}
		_, v := r.post(`{"text":"x","sampling_params":` + c.params + `}`)
		require.Equal(t, c.text, get(t, v, "text"))
		require.Equal(t, []any{97.0, 33.0}, get(t, v, "output_ids"))
		require.Equal(t, map[string]any{"type": "stop", "matched": 33.0}, get(t, v, "meta_info", "finish_reason"))
	}
}

func TestStopTokenZeroIsReported(t *testing.T) {
	r := newRig(t)
	r.engine.script = func(engine.Request) []engine.Update {
		return says([]int32{'a', 0}, engine.Finish{Reason: engine.FinishStop, MatchedToken: 0})
	}
	_, v := r.post(`{"text":"x"}`)
	require.Equal(t, 0.0, get(t, v, "meta_info", "finish_reason", "matched"))
}

// A stop string that is a special token is not in the text: the engine ends the answer there.
func TestStopStringsThatDoNotShow(t *testing.T) {
	stopped := func(r engine.Request) []engine.Update {
		return []engine.Update{{Tokens: []engine.Token{{ID: 'a'}, {ID: 0xff}}, Finish: &engine.Finish{Reason: engine.FinishStop, MatchedToken: 0xff}}}
	}
	for _, c := range []struct {
		params  string
		ids     []int32 // that the engine stops at
		matched any
	}{
		{`{"stop":["x","<special>"]}`, []int32{0xff}, "<special>"},
		{`{"stop":"<special>","stop_token_ids":[9,7,9]}`, []int32{7, 9, 0xff}, "<special>"},
		{`{"stop":"<special>","ignore_eos":true}`, []int32{0xff}, "<special>"},
		{`{"stop":"x"}`, nil, 255.0},
	} {
		r := newRig(t)
		r.engine.script = stopped
		_, v := r.post(`{"text":"p","sampling_params":` + c.params + `}`)
		require.Equal(t, c.ids, r.engine.last(t).Sampling.StopTokens, c.params)
		require.Equal(t, "a", get(t, v, "text"), c.params)
		require.Equal(t, map[string]any{"type": "stop", "matched": c.matched}, get(t, v, "meta_info", "finish_reason"), c.params)
	}
	r := newRig(t)
	_, v := r.post(`{"input_ids":[97,255,98],"sampling_params":{"stop":"<special>","skip_special_tokens":false}}`)
	require.Equal(t, "a", get(t, v, "text"), "what shows is found in the text")
	require.Empty(t, r.engine.last(t).Sampling.StopTokens)
}

func TestStopStringEndsTheSequence(t *testing.T) {
	for _, c := range []struct{ stop, extra, text, matched string }{
		{`"cd"`, ``, "ab", "cd"},
		{`["zz","cd","c"]`, ``, "ab", "c"},
		{`"cd"`, `,"no_stop_trim":true`, "abcd", "cd"},
		{`["","d"]`, ``, "abc", "d"},
	} {
		r := newRig(t)
		_, v := r.post(`{"text":"abcdef","sampling_params":{"max_new_tokens":20,"stop":` + c.stop + c.extra + `}}`)
		require.Equal(t, c.text, get(t, v, "text"))
		require.Equal(t, map[string]any{"type": "stop", "matched": c.matched}, get(t, v, "meta_info", "finish_reason"))
		<-r.engine.streams[0].cancelled // the engine was told
	}
}

func TestSpecialTokensInText(t *testing.T) {
	for _, c := range []struct{ params, text string }{{`{}`, "ab"}, {`{"skip_special_tokens":false}`, "a<special>b"}} {
		r := newRig(t)
		r.engine.script = func(engine.Request) []engine.Update {
			return says([]int32{'a', 0xff, 'b'}, engine.Finish{Reason: engine.FinishLength})
		}
		_, v := r.post(`{"text":"x","sampling_params":` + c.params + `}`)
		require.Equal(t, c.text, get(t, v, "text"))
	}
}

func TestNoTokensAtAll(t *testing.T) {
	r := newRig(t)
	_, v := r.post(`{"text":"x","sampling_params":{"max_new_tokens":0}}`)
	require.Equal(t, []any{}, get(t, v, "output_ids"))
	require.Equal(t, 0.0, get(t, v, "meta_info", "finish_reason", "length"))
}

func TestLogprobs(t *testing.T) {
	r := newRig(t)
	r.engine.script = func(q engine.Request) []engine.Update {
		token := func(id int32, logprob float32) engine.Token {
			return engine.Token{
				ID: id, Logprob: logprob, Top: []engine.TokenLogprob{{ID: id, Logprob: logprob}, {ID: 'z', Logprob: -9}},
				IDs: []engine.TokenLogprob{{ID: 'q', Logprob: float32(math.Inf(-1))}},
			}
		}
		return []engine.Update{{
			Prompt: []engine.Token{token('b', -1), token('c', -2)}, Tokens: []engine.Token{token('d', -0.25)}, CachedTokens: 1,
			Finish: &engine.Finish{Reason: engine.FinishLength},
		}}
	}
	_, v := r.post(`{"text":"abc","sampling_params":{"max_new_tokens":1},"return_logprob":true,"logprob_start_len":0,
		"top_logprobs_num":2,"token_ids_logprob":[113],"return_text_in_logprobs":true}`)
	require.Equal(t, engine.Logprobs{Return: true, Start: 0, Top: 2, IDs: []int32{113}}, r.engine.last(t).Logprobs)
	meta := get(t, v, "meta_info").(map[string]any)
	require.Equal(t, []any{[]any{nil, 97.0, "a"}, []any{-1.0, 98.0, "b"}, []any{-2.0, 99.0, "c"}}, meta["input_token_logprobs"])
	require.Equal(t, []any{[]any{-0.25, 100.0, "d"}}, meta["output_token_logprobs"])
	require.Equal(t, 1.0, meta["output_token_logprobs_length"])
	require.Equal(t, 1.0, meta["cached_tokens"])
	require.Equal(t, []any{nil, []any{[]any{-1.0, 98.0, "b"}, []any{-9.0, 122.0, "z"}}, []any{[]any{-2.0, 99.0, "c"}, []any{-9.0, 122.0, "z"}}}, meta["input_top_logprobs"])
	require.Equal(t, []any{[]any{[]any{-0.25, 100.0, "d"}, []any{-9.0, 122.0, "z"}}}, meta["output_top_logprobs"])
	require.Equal(t, []any{[]any{[]any{nil, 113.0, "q"}}}, meta["output_token_ids_logprobs"])
	require.Len(t, meta["input_token_ids_logprobs"], 3)
}

func TestLogprobTextIsNotEscaped(t *testing.T) {
	r := newRig(t)
	_, text := r.do(http.MethodPost, "/generate", `{"text":"<\u0000","sampling_params":{"max_new_tokens":2},"return_logprob":true,"return_text_in_logprobs":true}`)
	require.Contains(t, text, `"output_token_logprobs":[[-0.5,60,"<"],[-1.5,0,"\u0000"]]`)
}

func TestLogprobsOfOutputOnly(t *testing.T) {
	r := newRig(t)
	_, v := r.post(`{"text":"abc","sampling_params":{"max_new_tokens":2},"return_logprob":true,"token_ids_logprob":[]}`)
	meta := get(t, v, "meta_info").(map[string]any)
	require.Equal(t, []any{}, meta["input_token_logprobs"])
	require.Equal(t, []any{[]any{-0.5, 97.0, nil}, []any{-1.5, 98.0, nil}}, meta["output_token_logprobs"])
	require.NotContains(t, meta, "output_top_logprobs")
	require.NotContains(t, meta, "output_token_ids_logprobs")
}

func TestLogprobsPerPrompt(t *testing.T) {
	r := newRig(t)
	_, v := r.post(`{"text":["a","b"],"sampling_params":{"max_new_tokens":1},"return_logprob":[true,false],"top_logprobs_num":[1,0]}`)
	require.Contains(t, get(t, v, 0, "meta_info"), "output_top_logprobs")
	require.NotContains(t, get(t, v, 1, "meta_info"), "output_token_logprobs")
}

func TestEngineErrorsBecomeStatuses(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		body   string
	}{
		{engine.ErrBusy, 503, `{"code":503,"message":"The request queue is full.","object":"error","param":null,"type":"503"}`},
		{ErrReopening, 503, `{"code":503,"message":"the device was lost and is being opened again; try again in a moment","object":"error","param":null,"type":"503"}`},
		{engine.ErrStopped, 503, `{"code":503,"message":"engine: stopped","object":"error","param":null,"type":"503"}`},
		{&engine.RequestError{Message: "no"}, 400, `{"error":{"message":"no"}}`},
		{lora.Disabled("x"), 400, `{"error":{"message":"LoRA adapter 'x' was requested, but LoRA is not enabled. Please launch the server with --enable-lora flag and preload adapters using --lora-paths or /load_lora_adapter endpoint."}}`},
		{http.ErrBodyNotAllowed, 500, `Internal Server Error`},
	} {
		r := newRig(t)
		r.engine.submitErr = c.err
		res, err := http.Post(r.url+"/generate", "", strings.NewReader(`{"text":"a"}`))
		require.NoError(t, err)
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		res.Body.Close()
		require.Equal(t, c.status, res.StatusCode)
		require.Equal(t, c.body, strings.TrimSpace(string(text)))
		require.Equal(t, c.status == 503, res.Header.Get("Retry-After") == "1")
		r.engine.submitErr = nil
		status, _ := r.post(`{"text":"a","rid":"again"}`)
		require.Equal(t, http.StatusOK, status)
	}
}

func TestAbortedSequences(t *testing.T) {
	for _, c := range []struct {
		finish engine.Finish
		status int
	}{
		{engine.Finish{Reason: engine.FinishAbort, Message: "Aborted"}, 200},
		{engine.Finish{Reason: engine.FinishAbort, Message: "bad", Status: 400}, 400},
		{engine.Finish{Reason: engine.FinishAbort, Message: "lost", Status: 503}, 503},
	} {
		r := newRig(t)
		r.engine.script = func(engine.Request) []engine.Update { return says([]int32{'a'}, c.finish) }
		status, v := r.post(`{"text":"x"}`)
		require.Equal(t, c.status, status)
		switch status {
		case 200:
			require.Equal(t, "a", get(t, v, "text"))
			require.Equal(t, map[string]any{"type": "abort", "message": "Aborted", "status_code": nil, "err_type": nil}, get(t, v, "meta_info", "finish_reason"))
		case 400:
			require.Equal(t, "bad", get(t, v, "error", "message"))
		case 503:
			require.Equal(t, "lost", get(t, v, "message"))
		}
	}
}

func TestPanicAnswers500(t *testing.T) {
	r := newRig(t)
	r.engine.panics = true
	status, text := r.do(http.MethodPost, "/generate", `{"text":"a","rid":"mine"}`)
	require.Equal(t, 500, status)
	require.Equal(t, "Internal Server Error", text)
	require.Contains(t, r.log.String(), "a bug")
	r.engine.panics = false
	status, _ = r.post(`{"text":"a","rid":"mine"}`)
	require.Equal(t, 200, status, "the id is free again")
}

// TestPanicWhileFollowing has a bug show in a goroutine that the handler started.
func TestPanicWhileFollowing(t *testing.T) {
	r := newRig(t)
	r.server.tokenizer = brokenTokenizer{}
	status, text := r.do(http.MethodPost, "/generate", `{"text":"a!","rid":"mine","sampling_params":{"max_new_tokens":2}}`)
	require.Equal(t, 500, status)
	require.Equal(t, "Internal Server Error", text)
	events := r.stream(`{"text":"a!","rid":"mine","stream":true,"sampling_params":{"max_new_tokens":2}}`)
	require.Len(t, events, 2)
	require.Equal(t, map[string]any{"message": "Internal Server Error", "type": "server_error", "code": 500.0, "retryable": false},
		get(t, events[1], "error"))
	require.Eventually(t, func() bool { return strings.Count(r.log.String(), "brokenDecoder).Push") == 2 }, 10*time.Second, time.Millisecond, "the stacks")
	status, _ = r.post(`{"text":"a","rid":"mine","sampling_params":{"max_new_tokens":2}}`)
	require.Equal(t, 200, status)
}

type brokenTokenizer struct{ byteTokenizer }

func (brokenTokenizer) NewDecoder(bool) Decoder { return new(brokenDecoder) }

type brokenDecoder struct{ pushed int }

// Push fails at an exclamation mark once it has seen the prompt.
func (d *brokenDecoder) Push(id int32) string {
	if d.pushed++; d.pushed > 2 && id == '!' {
		panic("cannot decode")
	}
	return "."
}

func (*brokenDecoder) Flush() string { return "" }

func TestWithoutTokenizer(t *testing.T) {
	r := newRig(t)
	r.server.tokenizer = nil
	_, v := r.post(`{"input_ids":[7,8],"sampling_params":{"max_new_tokens":2},"return_logprob":true,"return_text_in_logprobs":true}`)
	require.Equal(t, "", get(t, v, "text"))
	require.Equal(t, []any{7.0, 8.0}, get(t, v, "output_ids"))
	require.Contains(t, r.refused(`{"text":"a"}`), "tokenizer must be initialized")
	for path, body := range map[string]string{"/tokenize": `{"prompt":"a"}`, "/detokenize": `{"tokens":[1]}`} {
		status, _ := r.do(http.MethodPost, path, body)
		require.Equal(t, http.StatusBadRequest, status)
	}
}

// The log line of a request, whatever becomes of it, says what it is called and which adapters it names.
func TestTheLogNamesAdapters(t *testing.T) {
	for _, c := range []struct {
		path, body string
		status     int
		want       map[string]any
	}{
		{"/generate", `{"text":"a","rid":"x","lora_path":"lora0"}`, 200, map[string]any{"rid": "x", "sequences": 1.0, "adapter": "lora0"}},
		{"/generate", `{"text":"a","rid":"x"}`, 200, map[string]any{"rid": "x", "sequences": 1.0}},
		{"/generate", `{"text":["a","b","c","d"],"rid":"x","lora_path":["lora1",null,"lora0","lora1"]}`, 200,
			map[string]any{"rid": "x_0", "sequences": 4.0, "adapter": "lora1,lora0"}},
		{"/generate", `{"input_ids":[[999],[1],[1],[1],[1],[1],[1],[1],[1],[1]],"rid":"x","lora_path":["a","b","c","d","e","f","g","h","i","j"]}`, 400,
			map[string]any{"rid": "x_0", "sequences": 10.0, "adapter": "a,b,c,d,e,f,g,h,..."}},
		{"/v1/completions", `{"prompt":"a","rid":"x","model":"lora1"}`, 200, map[string]any{"rid": "x", "sequences": 1.0, "adapter": "lora1"}},
	} {
		r := newRig(t)
		status, _ := r.open(c.path, c.body)
		require.Equal(t, c.status, status, c.body)
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(r.log.String()), &line))
		got := map[string]any{}
		for _, key := range []string{"rid", "sequences", "adapter"} {
			if value, ok := line[key]; ok {
				got[key] = value
			}
		}
		require.Equal(t, c.want, got, c.body)
	}
}

func TestTheLogCutsLongNames(t *testing.T) {
	r := newRig(t)
	r.post(`{"text":"a","lora_path":"` + strings.Repeat("é", 20000) + `"}`)
	require.Less(t, len(r.log.String()), 2*maxNoted)
	require.Contains(t, r.log.String(), "é...")
}

func TestCachesOfTheirOwn(t *testing.T) {
	for _, c := range []struct {
		path, body string
		want       []string
	}{
		{"/generate", `{"text":["a","b"]}`, []string{"", ""}},
		{"/generate", `{"text":["a","b"],"extra_key":"k"}`, []string{"0 k", "0 k"}},
		{"/generate", `{"text":["a","b"],"extra_key":["k",""],"sampling_params":{"n":2}}`, []string{"0 k", "0 k", "", ""}},
		{"/v1/completions", `{"prompt":["a","b"],"cache_salt":["sk","s"],"extra_key":["","k"]}`, []string{"2 sk", "1 sk"}},
		{"/v1/completions", `{"prompt":["a","b"],"cache_salt":"s","extra_key":["k","l"]}`, []string{"1 sk", "1 sl"}},
	} {
		r := newRig(t)
		status, text := r.open(c.path, c.body)
		require.Equal(t, http.StatusOK, status, text)
		var got []string
		for _, request := range r.engine.submitted {
			got = append(got, request.Namespace)
		}
		require.Equal(t, c.want, got, c.body)
	}
	r := newRig(t)
	require.Contains(t, r.refused(`{"text":"a","extra_key":"`+strings.Repeat("k", maxID+1)+`"}`), "extra_key and cache_salt must be at most 1024 bytes long, got 1025.")
}
