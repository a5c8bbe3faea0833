package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lorikeet/server/engine"
)

// open posts a body to an endpoint of OpenAI's and returns the status and the body.
func (r *rig) open(path, body string) (int, string) {
	r.t.Helper()
	res, err := http.Post(r.url+path, "application/json; charset=utf-8", strings.NewReader(body))
	require.NoError(r.t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	return res.StatusCode, string(data)
}

// opened is open of a body that is answered.
func (r *rig) opened(path, body string) any {
	r.t.Helper()
	status, text := r.open(path, body)
	require.Equal(r.t, http.StatusOK, status, text)
	var v any
	require.NoError(r.t, json.Unmarshal([]byte(text), &v), text)
	return v
}

func TestCompletion(t *testing.T) {
	r := newRig(t)
	v := r.opened("/v1/completions", `{"model":"m","prompt":"abc","max_tokens":4,"temperature":0,"seed":7,"rid":"mine","user":"u"}`)
	created := get(t, v, "created").(float64)
	require.InDelta(t, r.server.started.Unix(), created, 60)
	delete(v.(map[string]any), "created")
	require.Equal(t, map[string]any{
		"id": "mine", "object": "text_completion", "model": "m",
		"choices": []any{map[string]any{"index": 0.0, "text": "abca", "logprobs": nil, "finish_reason": "length", "matched_stop": nil}},
		"usage": map[string]any{
			"prompt_tokens": 3.0, "completion_tokens": 4.0, "total_tokens": 7.0, "reasoning_tokens": 0.0,
			"prompt_tokens_details": map[string]any{"cached_tokens": 0.0},
		},
		"metadata": map[string]any{"weight_version": "default"},
	}, v)
	require.Equal(t, engine.Sampling{MaxNewTokens: 4, TopP: 1, Seed: 7}, r.engine.last(t).Sampling)

	r.opened("/v1/completions", `{"prompt":"abc"}`)
	require.Equal(t, 16, r.engine.last(t).Sampling.MaxNewTokens)
}

func TestCompletionPrompts(t *testing.T) {
	for _, c := range []struct {
		body string
		want []string
	}{
		{`"prompt":["ab","cd"]`, []string{"a", "c"}},
		{`"prompt":[98,99]`, []string{"b"}},
		{`"prompt":[[98],[100,99]]`, []string{"b", "d"}},
		{`"prompt":["ab","cd"],"n":2`, []string{"a", "a", "c", "c"}},
		{`"prompt":["ab","cd"],"echo":true`, []string{"aba", "cdc"}},
		{`"prompt":[[98],[100,99]],"echo":true`, []string{"bb", "dcd"}},
	} {
		r := newRig(t)
		v := r.opened("/v1/completions", `{"max_tokens":1,`+c.body+`}`)
		var texts []string
		for i, choice := range get(t, v, "choices").([]any) {
			require.Equal(t, float64(i), get(t, choice, "index"))
			texts = append(texts, get(t, choice, "text").(string))
		}
		require.Equal(t, c.want, texts, c.body)
		require.Equal(t, float64(len(c.want)), get(t, v, "usage", "completion_tokens"))
	}
	r := newRig(t)
	v := r.opened("/v1/completions", `{"prompt":["ab","cde"],"n":3,"max_tokens":2}`)
	require.Equal(t, 5.0, get(t, v, "usage", "prompt_tokens"), "a prompt counts once")
	require.Equal(t, 17.0, get(t, v, "usage", "total_tokens"))
}

func TestWhoAnswersACompletion(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`"model":"lora1"`, "lora1"},
		{`"model":"meta-llama/demo:lora0"`, "lora0"},
		{`"model":"anything: lora0 "`, "lora0"},
		{`"model":"meta-llama/demo:lora0","lora_path":"lora1"`, "lora0"},
		{`"model":"meta-llama/demo","lora_path":"lora1"`, "lora1"},
		{`"model":"lora0","lora_path":"lora1"`, "lora1"},
		{`"model":"meta-llama/demo"`, ""},
		{`"model":"gpt-4"`, ""},
		{`"model":"x:"`, ""},
		{`"lora_path":null`, ""},
		{`"lora_path":"lora1"`, "lora1"},
		{`"model":null`, ""},
		{`"model":"default"`, "default"}, // an adapter's name, if the request says it
		{`"model":"evicted"`, "evicted"},
		{`"model":"x:evicted"`, "evicted"},
		{`"model":"with:colon"`, "with:colon"},
		{`"model":"with:colon","lora_path":"lora1"`, "lora1"},
	} {
		r := newRig(t)
		r.engine.gone = []string{"evicted", "with:colon", "default", "meta-llama/demo"} // the last one has the base model's name
		r.opened("/v1/completions", `{"prompt":"a","max_tokens":1,`+c.body+`}`)
		require.Equal(t, c.want, r.engine.last(t).Adapter, c.body)
	}
	r := newRig(t)
	r.opened("/v1/completions", `{"prompt":["a","b"],"max_tokens":1,"lora_path":["lora0",null]}`)
	require.Equal(t, "lora0", r.engine.submitted[0].Adapter)
	require.Equal(t, "", r.engine.submitted[1].Adapter)
}

// scored answers with two tokens that have alternatives, after a prompt whose tokens are scored where that is asked for.
func scoredScript(r engine.Request) []engine.Update {
	top := []engine.TokenLogprob{{ID: 'x', Logprob: -0.5}, {ID: 'y', Logprob: -1.5}}[:r.Logprobs.Top]
	u := engine.Update{
		Tokens: []engine.Token{{ID: 'x', Logprob: -0.5, Top: top}, {ID: 'y', Logprob: -1.5, Top: top}},
		Finish: &engine.Finish{Reason: engine.FinishStop, MatchedToken: 'y'},
	}
	if r.Logprobs.Start == 0 {
		u.Prompt = []engine.Token{{ID: 'b', Logprob: -2, Top: top}}
	}
	return []engine.Update{u}
}

func TestCompletionLogprobs(t *testing.T) {
	r := newRig(t)
	r.engine.script = scoredScript
	v := r.opened("/v1/completions", `{"prompt":"ab","logprobs":2}`)
	require.Equal(t, map[string]any{
		"tokens": []any{"x", "y"}, "token_logprobs": []any{-0.5, -1.5}, "text_offset": []any{0.0, 1.0},
		"top_logprobs": []any{map[string]any{"x": -0.5, "y": -1.5}, map[string]any{"x": -0.5, "y": -1.5}},
	}, get(t, v, "choices", 0, "logprobs"))
	require.Equal(t, "stop", get(t, v, "choices", 0, "finish_reason"))
	require.Equal(t, float64('y'), get(t, v, "choices", 0, "matched_stop"))
	require.Equal(t, "x", get(t, v, "choices", 0, "text"), "the token that stopped is not in the text")

	v = r.opened("/v1/completions", `{"prompt":"ab","logprobs":0,"echo":true}`)
	require.Equal(t, map[string]any{
		"tokens": []any{"a", "b", "x", "y"}, "token_logprobs": []any{nil, -2.0, -0.5, -1.5}, "text_offset": []any{0.0, 1.0, 2.0, 3.0},
		"top_logprobs": []any{nil, nil, nil, nil},
	}, get(t, v, "choices", 0, "logprobs"))
	require.Equal(t, "abx", get(t, v, "choices", 0, "text"))
}

// Offsets are of the text, in which parts of a character begin together and special tokens do not show.
func TestStopsInTheText(t *testing.T) {
	r := newRig(t)
	v := r.opened("/v1/completions", `{"prompt":"abc","max_tokens":3,"stop":"b","include_stop_str_in_output":true}`)
	require.Equal(t, "ab", get(t, v, "choices", 0, "text"))
}

func TestScoringAPrompt(t *testing.T) {
	r := newRig(t)
	r.engine.script = func(r engine.Request) []engine.Update {
		return []engine.Update{{Prompt: []engine.Token{{ID: 'b', Logprob: -2}}, Finish: &engine.Finish{Reason: engine.FinishLength}}}
	}
	v := r.opened("/v1/completions", `{"prompt":"ab","max_tokens":0,"echo":true,"logprobs":1}`)
	require.Equal(t, "ab", get(t, v, "choices", 0, "text"))
	require.Equal(t, []any{nil, -2.0}, get(t, v, "choices", 0, "logprobs", "token_logprobs"))
	require.Equal(t, "length", get(t, v, "choices", 0, "finish_reason"))
	require.Zero(t, r.engine.last(t).Sampling.MaxNewTokens)
	require.Zero(t, get(t, v, "usage", "completion_tokens"))
}

func TestTextOffsets(t *testing.T) {
	r := newRig(t)
	r.engine.script = func(r engine.Request) []engine.Update {
		var u engine.Update
		for _, id := range []int32{0xc3, 0xa9, 0xff, 'x', 'y'} {
			u.Tokens = append(u.Tokens, engine.Token{ID: id})
		}
		for _, id := range r.Prompt[1:] {
			u.Prompt = append(u.Prompt, engine.Token{ID: id})
		}
		u.Finish = &engine.Finish{Reason: engine.FinishLength}
		return []engine.Update{u}
	}
	for _, c := range []struct {
		body, text string
		offsets    []any
	}{
		{`"prompt":[255,97]`, "éxy", []any{0.0, 0.0, 1.0, 1.0, 2.0}},
		{`"prompt":[255,97],"echo":true`, "aéxy", []any{0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0}},
		{`"prompt":[255,97],"skip_special_tokens":false`, "é<special>xy", []any{0.0, 0.0, 1.0, 10.0, 11.0}},
	} {
		v := r.opened("/v1/completions", `{"logprobs":0,`+c.body+`}`)
		require.Equal(t, c.text, get(t, v, "choices", 0, "text"), c.body)
		require.Equal(t, c.offsets, get(t, v, "choices", 0, "logprobs", "text_offset"), c.body)
	}
	r.server.tokenizer = beginner{}
	for _, c := range []struct {
		body, text string
		offsets    []any
	}{
		{`"prompt":"a<special>"`, "a<special>éxy", []any{0.0, 0.0, 1.0, 10.0, 10.0, 11.0, 11.0, 12.0}},
		{`"prompt":"ab","skip_special_tokens":false`, "abé<special>xy", []any{0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 12.0, 13.0}},
	} {
		v := r.opened("/v1/completions", `{"echo":true,"logprobs":0,`+c.body+`}`)
		require.Equal(t, c.text, get(t, v, "choices", 0, "text"), c.body)
		require.Equal(t, c.offsets, get(t, v, "choices", 0, "logprobs", "text_offset"), c.body)
	}
}

// beginner is a tokenizer that puts a special token before each text.
type beginner struct{ byteTokenizer }

func (beginner) Encode(text string, _ bool) []int32 {
	ids := []int32{0xff}
	for i, part := range strings.Split(text, "<special>") {
		if i > 0 {
			ids = append(ids, 0xff)
		}
		ids = append(ids, byteTokenizer{}.Encode(part, false)...)
	}
	return ids
}

func TestCompletionStream(t *testing.T) {
	r := newRig(t)
	_, text := r.open("/v1/completions", `{"prompt":["abc","de"],"max_tokens":3,"stop":"ab","stream":true,"logprobs":0,"echo":true,"stream_options":{"include_usage":true}}`)
	events := eventsOf(t, text)
	texts, tokens, finish := map[float64]string{}, map[float64][]any{}, map[float64]any{}
	for _, e := range events[:len(events)-1] {
		require.Equal(t, "text_completion", get(t, e, "object"))
		require.Nil(t, get(t, e, "usage"))
		require.NotContains(t, e, "metadata")
		choice := get(t, e, "choices", 0)
		i := get(t, choice, "index").(float64)
		require.Nil(t, finish[i], "nothing follows the end")
		texts[i] += get(t, choice, "text").(string)
		finish[i] = get(t, choice, "finish_reason")
		if l := get(t, choice, "logprobs"); l != nil {
			want := len(tokens[i])
			if want > 0 {
				want += len([]string{"abc", "de"}[int(i)]) - 1
			}
			require.Equal(t, want, int(get(t, l, "text_offset", 0).(float64)), "offsets go on behind the prompt")
			tokens[i] = append(tokens[i], get(t, l, "tokens").([]any)...)
		}
	}
	require.Equal(t, map[float64]string{0: "abc", 1: "deded"}, texts)
	require.Equal(t, map[float64]any{0: "stop", 1: "length"}, finish)
	require.Equal(t, []any{"d", "e", "d"}, tokens[1][1:], "the fake scores no prompt but its first token")
	last := events[len(events)-1]
	require.Empty(t, get(t, last, "choices"))
	require.Equal(t, 10.0, get(t, last, "usage", "total_tokens"))

	_, text = r.open("/v1/completions", `{"prompt":"abc","max_tokens":2,"stream":true,"stream_options":{"continuous_usage_stats":true}}`)
	for i, e := range eventsOf(t, text) {
		require.Equal(t, float64(4+i), get(t, e, "usage", "total_tokens"))
	}
}

func TestOpenRefusals(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ path, body, want string }{
		{"/v1/completions", `{`, "the request body is not valid JSON: unexpected end of JSON input at byte 1"},
		{"/v1/completions", `{}`, "prompt is required and cannot be empty"},
		{"/v1/completions", `{"prompt":""}`, "prompt cannot be empty"},
		{"/v1/completions", `{"prompt":[[]]}`, "prompt cannot be empty"},
		{"/v1/completions", `{"prompt":"a","model":"b:lora1","lora_path":5}`, "lora_path should be a list or a string."},
		{"/v1/completions", `{"prompt":"a","custom_logit_processor":"x"}`, "custom_logit_processor is not supported by this server; it would change the answer, so the request is refused."},
		{"/v1/completions", `{"prompt":"a","guided_choice":["x"]}`, "guided_choice is not supported by this server; it would change the answer, so the request is refused."},
		{"/v1/completions", `{"prompt":"a","structural_tag":"x"}`, "structural_tag is not supported by this server; it would change the answer, so the request is refused."},
		{"/v1/completions", `{"prompt":"a","modalities":["text","audio"]}`, "modalities other than text is not supported by this server; it would change the answer, so the request is refused."},
		{"/v1/completions", `{"prompt":"a","min_tokens":-1}`, "min_new_tokens must be in [0, max_new_tokens(16)], got -1."},
		{"/v1/completions", `{"prompt":{}}`, "prompt must be a string, a list of strings, a list of token ids, or a list of such lists"},
		{"/v1/completions", `{"prompt":"a","max_tokens":0}`, "max_tokens must be positive"},
		{"/v1/completions", `{"prompt":"a","max_tokens":-1,"echo":true}`, "max_tokens must be positive"},
		{"/v1/completions", `{"prompt":"a","prompt_embeds":"x"}`, "prompt_embeds is not supported by this server; it would change the answer, so the request is refused."},
		{"/v1/completions", `{"prompt":"a","prompt_logprobs":0}`, "prompt_logprobs is not supported by this server; it would change the answer, so the request is refused."},
		{"/v1/completions", `{"prompt":"a","return_token_ids":true}`, "return_token_ids is not supported by this server; it would change the answer, so the request is refused."},
		{"/v1/completions", `{"prompt":"a","logits_processors":["x"]}`, "logits_processors is not supported by this server; it would change the answer, so the request is refused."},
		{"/v1/completions", `{"prompt":"a","max_tokens":"b"}`, `max_tokens must be an integer, got "b".`},
		{"/v1/completions", `{"prompt":"a","temperature":-1}`, "temperature must be a non-negative finite number, got -1."},
		{"/v1/completions", `{"prompt":"a","suffix":"b"}`, "suffix is not supported by this server; it would change the answer, so the request is refused."},
		{"/v1/completions", `{"prompt":"a","best_of":3}`, "best_of other than n is not supported by this server; it would change the answer, so the request is refused."},
		{"/v1/completions", `{"prompt":"a","logprobs":-1}`, "logprobs must be at least 0, got -1."},
		{"/v1/completions", `{"prompt":"a","response_format":{"type":"json_object"}}`, `response_format of type "json_object" is not supported by this server; it would change the answer, so the request is refused.`},
		{"/v1/completions", `{"prompt":"a","response_format":{"json_schema":{}}}`, "response_format must have a type"},
		{"/v1/completions", `{"prompt":"a","logprobs":65}`, "logprobs must be at most 64, got 65."},
		{"/v1/completions", `{"prompt":["a","b"],"lora_path":["lora0"]}`, "lora_path list length (1) must match batch size (2)"},
		{"/v1/completions", `{"prompt":[1000]}`, "The input_ids [..., 1000, ...] contains values greater than the vocab size (256). Position 0 must be in [0, 255]."},
		{"/v1/completions", `{"prompt":"a","stream":true,"n":0}`, "n must be at least 1, got 0."},
		{"/v1/chat/completions", `{}`, "messages is required and cannot be empty"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}]}`, errNoTemplate.Error()},
	} {
		status, text := r.open(c.path, c.body)
		require.Equal(t, http.StatusBadRequest, status, text)
		var v any
		require.NoError(t, json.Unmarshal([]byte(text), &v))
		require.Equal(t, map[string]any{
			"object": "error", "message": c.want, "type": "BadRequestError", "param": nil, "code": 400.0,
			"error": map[string]any{"message": c.want, "type": "BadRequestError", "param": nil, "code": 400.0},
		}, v, c.body)
	}
	require.Empty(t, r.engine.submitted)

	status, text := r.do(http.MethodPost, "/v1/completions", `{"prompt":"a"}`)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, text, "Unsupported Media Type: Only 'application/json' is allowed")

	r.engine.submitErr = engine.ErrBusy
	status, text = r.open("/v1/completions", `{"prompt":"a"}`)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, text, `"type":"ServiceUnavailableError"`)
	r.engine.submitErr = nil
	r.engine.panics = true
	status, _ = r.open("/v1/completions", `{"prompt":"a"}`)
	require.Equal(t, http.StatusInternalServerError, status)
}

// TestOpenFailsInTheMiddle has an engine that gives a sequence up after a token, as when its device is lost.
func TestOpenFailsInTheMiddle(t *testing.T) {
	r := newChatRig(t)
	r.engine.script = func(engine.Request) []engine.Update {
		return says([]int32{'x'}, engine.Finish{Reason: engine.FinishAbort, Status: http.StatusServiceUnavailable, Message: "the device was lost"})
	}
	for path, body := range map[string]string{
		"/v1/completions": `"prompt":"a"`, "/v1/chat/completions": `"messages":[{"role":"user","content":"a"}]`,
	} {
		status, text := r.open(path, `{`+body+`}`)
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.JSONEq(t, `{"object":"error","message":"the device was lost","type":"ServiceUnavailableError","param":null,"code":503,
			"error":{"message":"the device was lost","type":"ServiceUnavailableError","param":null,"code":503}}`, text)
		status, text = r.open(path, `{"stream":true,"stream_options":{"include_usage":true},`+body+`}`)
		require.Equal(t, http.StatusOK, status)
		events := eventsOf(t, text)
		require.Equal(t, "the device was lost", get(t, events[len(events)-1], "error", "message"))
		require.NotContains(t, text, `"total_tokens"`, "no usage of an answer that has failed")
	}
}

// TestOpenClientLeaves has a client that leaves in the middle of a stream: the engine's stream is cancelled and the id is free again.
func TestOpenClientLeaves(t *testing.T) {
	r := newRig(t)
	r.engine.script = func(engine.Request) []engine.Update { return []engine.Update{{Tokens: []engine.Token{{ID: 'x'}}}} }
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/v1/completions", strings.NewReader(`{"prompt":"a","stream":true,"rid":"mine"}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	_, err = res.Body.Read(make([]byte, 1))
	require.NoError(t, err)
	leave()
	_ = res.Body.Close()
	<-r.engine.streams[0].cancelled
	r.engine.script = nil
	require.Eventually(t, func() bool {
		status, _ := r.open("/v1/completions", `{"prompt":"a","rid":"mine"}`)
		return status == http.StatusOK
	}, 5*time.Second, 10*time.Millisecond)
}

// FuzzOpen checks that no body makes parsing panic, or passes without a name and parameters for every answer.
func FuzzOpen(f *testing.F) {
	for _, body := range []string{
		`{"prompt":["a","b"],"n":2,"logprobs":3,"echo":true,"lora_path":["x",null],"model":"a:b","stream_options":{"include_usage":true}}`,
		`{"prompt":[[1],[2,3]],"stop":["a",""],"stop_token_ids":[1,null],"rid":["x","y"]}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]},{"role":"assistant"}],"logprobs":true,"top_logprobs":2}`,
		`{"messages":[{}],"tools":[{}],"tool_choice":{"type":"function"},"response_format":{"type":"text"},"chat_template_kwargs":{"end":1}}`,
	} {
		f.Add([]byte(body))
	}
	s := New(Config{Chat: plainTemplate{}, VocabSize: fakeVocab, ContextLength: fakeContext}, &fakeEngine{}, byteTokenizer{})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, parse := range []func(object) (*openRequest, error){s.parseCompletion, s.parseChat} {
			o, err := parseObject(data)
			if err != nil {
				return
			}
			q, err := parse(o)
			if err != nil {
				status, _ := failureOf(err)
				require.Equal(t, http.StatusBadRequest, status, err)
				continue
			}
			require.NotEmpty(t, q.prompts)
			require.Len(t, q.ids, q.n*len(q.prompts))
			require.NotNil(t, q.form)
		}
	})
}
