package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRefusals(t *testing.T) {
	r := newRig(t)
	long := strings.Repeat("a", fakeContext)
	for _, c := range []struct{ body, want string }{
		// Not the JSON that /generate reads.
		{``, "not valid JSON"},
		{`{`, "not valid JSON"},
		{`{"text":"a"} x`, "not valid JSON"},
		{`[]`, "must be a JSON object, got a list"},
		{`null`, "must be a JSON object, got null"},
		{"{\"text\":\"\xff\"}", "not valid UTF-8"},
		{`{"text":5}`, "text must be a string or a list, got a number"},
		{`{"text":["a",5]}`, "element 1 is a number"},
		{`{"text":"a","stream":"yes"}`, "stream must be a boolean, got a string"},
		{`{"text":"a","sampling_params":3}`, "sampling_params must be an object or a list, got a number"},
		{`{"input_ids":"a"}`, "input_ids must be a list of integers or a list, got a string"},
		{`{"input_ids":[1,null]}`, "input_ids must be a list of integers (element 1 is null)"},
		{`{"input_ids":[1,2,"b"]}`, `input_ids must be a list of integers (element 2 is "b")`},
		{`{"input_ids":[1,1e30]}`, "input_ids must be a list of integers (element 1 is 1e30)"},
		{`{"input_ids":[[1],[2,true]]}`, "a list of integers (element 1 is true)"},
		{`{"text":"a","return_logprob":"x"}`, "return_logprob must be a boolean or a list"},
		// Prompts.
		{`{}`, "Either text, input_ids or input_embeds should be provided."},
		{`{"TEXT":"a"}`, "Either text, input_ids or input_embeds should be provided."},
		{`{"text":""}`, "texts cannot be empty and tokenizer must be initialized"},
		{`{"text":[]}`, "texts cannot be empty and tokenizer must be initialized"},
		{`{"text":["a",""]}`, "input_ids cannot be empty."},
		{`{"input_ids":[]}`, "input_ids cannot be empty."},
		{`{"input_ids":[[1],[]]}`, "input_ids cannot be empty."},
		{`{"text":"a","input_ids":[[1]]}`, "text and input_ids must describe the same batch."},
		{`{"input_ids":[1,256]}`, "greater than the vocab size (256)"},
		{`{"input_ids":[-1]}`, "must be in [0, 255]"},
		{`{"input_ids":[99999999999]}`, "99999999999"},
		{`{"text":"` + long + `"}`, "The input (200 tokens) is longer than the model's context length (200 tokens)."},
		{`{"text":"abc","sampling_params":{"max_new_tokens":198}}`, "Requested token count exceeds the model's maximum context length of 200 tokens. You requested a total of 201 tokens: 3 tokens from the input messages and 198 tokens for the completion."},
		// Sampling.
		{`{"text":"a","sampling_params":{"max_tokens":3}}`, `unknown key "max_tokens"`},
		{`{"text":"a","sampling_params":{"temperature":-1}}`, "temperature must be a non-negative finite number, got -1."},
		{`{"text":"a","sampling_params":{"temperature":1e39}}`, "temperature must be a non-negative finite number"},
		{`{"text":"a","sampling_params":{"temperature":"hot"}}`, `temperature must be a number, got "hot".`},
		{`{"text":"a","sampling_params":{"top_p":0}}`, "top_p must be in (0, 1], got 0."},
		{`{"text":"a","sampling_params":{"top_p":1.5}}`, "top_p must be in (0, 1], got 1.5."},
		{`{"text":"a","sampling_params":{"top_k":0}}`, "top_k must be -1 (disable) or at least 1, got 0."},
		{`{"text":"a","sampling_params":{"min_p":2}}`, "min_p must be in [0, 1], got 2."},
		{`{"text":"a","sampling_params":{"max_new_tokens":-1}}`, "max_new_tokens must be at least 0, got -1."},
		{`{"text":"a","sampling_params":{"max_new_tokens":3,"min_new_tokens":4}}`, "min_new_tokens must be in [0, max_new_tokens(3)], got 4."},
		{`{"text":"a","sampling_params":{"max_new_tokens":9223372036854775807}}`, "max_new_tokens must be an integer, got 9223372036854775807."},
		{`{"text":"a","sampling_params":{"sampling_seed":9223372036854775808}}`, "sampling_seed must be an integer, got 9223372036854775808."},
		{`{"text":"a","sampling_params":{"sampling_seed":1.5}}`, "sampling_seed must be an integer, got 1.5."},
		{`{"text":"a","sampling_params":{"frequency_penalty":3}}`, "frequency_penalty must be in [-2, 2], got 3."},
		{`{"text":"a","sampling_params":{"repetition_penalty":0}}`, "repetition_penalty must be in (0, 2] (1.0 = no penalty), got 0."},
		{`{"text":"a","sampling_params":{"n":0}}`, "n must be at least 1, got 0."},
		{`{"text":"a","sampling_params":{"n":1000000}}`, "at most 16384 answers"},
		{`{"text":"a","sampling_params":{"stop":[1]}}`, "stop must be a string or a list of strings"},
		{`{"text":"a","sampling_params":{"regex":"a","ebnf":"b"}}`, "Only one of json_schema, regex, ebnf, or structural_tag can be set."},
		{`{"text":"a","sampling_params":{"regex":" "}}`, "regex is not supported"},
		{`{"text":"a","sampling_params":{"logit_bias":{"300":1}}}`, "logit_bias must has keys in [0, 255], got 300."},
		{`{"text":"a","sampling_params":{"logit_bias":{"-1":1}}}`, "logit_bias must has keys in [0, 255], got -1."},
		{`{"text":"a","sampling_params":{"logit_bias":{"a":1}}}`, "logit_bias must be an object of token ids, each once, and numbers, got"},
		{`{"text":"a","sampling_params":{"logit_bias":{"5":1e39}}}`, "logit_bias must be an object of token ids, each once, and numbers, got"},
		{`{"text":"a","sampling_params":{"logit_bias":[5]}}`, "logit_bias must be an object of token ids, each once, and numbers, got"},
		{`{"text":"a","sampling_params":{"logit_bias":{"5":1,"05":2}}}`, "logit_bias must be an object of token ids, each once, and numbers, got"},
		{`{"text":"a","sampling_params":{"stop_regex":"x"}}`, "stop_regex is not supported"},
		{`{"text":"a","sampling_params":[{},{}]}`, "sampling_params list length (2) must match batch size (1)"},
		{`{"text":["a","b"],"sampling_params":[{"n":1},{"n":2}]}`, "The parallel_sample_num should be the same for all samples in sample params."},
		{`{"text":"a","input_embeds":[[1.5]]}`, "input_embeds is not supported"},
		{`{"text":"a","return_hidden_states":true}`, "return_hidden_states is not supported"},
		// Logprobs.
		{`{"text":["a"],"return_logprob":[true],"sampling_params":{"n":2}}`, "Cannot use list return_logprob with parallel_sample_num > 1"},
		{`{"text":["a","b"],"return_logprob":[true]}`, "return_logprob list length (1) must match batch size (2)"},
		{`{"text":"a","return_logprob":true,"logprob_start_len":-2}`, "logprob_start_len must be -1 (output tokens only) or at least 0, got -2."},
		{`{"text":"a","return_logprob":true,"logprob_start_len":1}`, "logprob_start_len (1) must be less than the number of input tokens (1)."},
		{`{"text":"a","return_logprob":true,"top_logprobs_num":-1}`, "top_logprobs_num must be at least 0, got -1."},
		{`{"text":"a","return_logprob":true,"token_ids_logprob":[300]}`, "token_ids_logprob contains out-of-vocabulary token id 300; valid range is [0, 256)."},
		{`{"text":"a","return_logprob":true,"token_ids_logprob":[[3]]}`, "token_ids_logprob must be a flat list of integers."},
		// Adapters, ids.
		{`{"text":["a","b"],"lora_path":["lora0"]}`, "lora_path list length (1) must match batch size (2)"},
		{`{"text":["a","b"],"lora_path":["lora0",null,null]}`, "lora_path list length (3) must match batch size (2)"},
		{`{"text":"a","lora_path":["lora0","lora1"]}`, "lora_path list length (2) must match batch size (1)"},
		{`{"text":"a","lora_path":7}`, "lora_path should be a list or a string."},
		{`{"text":"a","lora_path":false}`, "lora_path should be a list or a string."},
		{`{"text":"a","lora_path":{}}`, "lora_path should be a list or a string."},
		{`{"text":["a"],"lora_path":[7]}`, "lora_path must be a string"},
		{`{"text":["a"],"lora_path":[""]}`, "Got LoRA adapter that has never been loaded: \nAll loaded adapters: dict_keys(['lora0', 'lora1'])."},
		{`{"text":["a","b"],"extra_key":["x"]}`, "The length of extra_key should be equal to the batch size."},
		{`{"text":["a","b"],"rid":["x"]}`, "The specified rids length mismatch with the batch_size for batch processing."},
		{`{"text":"a\ud800b"}`, "the request body has half of a surrogate pair at byte 10"},
		{`{"text":"\ud83d\u0041"}`, "the request body has half of a surrogate pair at byte 9"},
		{`{"text":"a","rid":"` + strings.Repeat("x", 1025) + `"}`, "rid must be at most 1024 bytes long, got 1025."},
		{`{"text":["a","b"],"rid":["x","x"]}`, "Duplicate request IDs detected within the request: ['x']"},
	} {
		require.Contains(t, r.refused(c.body), c.want, c.body)
	}
	require.Empty(t, r.engine.submitted)
}

func TestBodyLimit(t *testing.T) {
	r := newRig(t)
	status, text := r.do(http.MethodPost, "/generate", `{"text":"`+strings.Repeat("a", 1<<17)+`"}`)
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
	require.Contains(t, text, "larger than 65536 bytes")
}

// patientTokenizer must not be asked to encode a text that is too long by its bytes alone.
type patientTokenizer struct{ byteTokenizer }

func (t patientTokenizer) Encode(text string, special bool) []int32 {
	if len(text) >= fakeContext*t.MostBytes() {
		panic("encoded a huge text")
	}
	return t.byteTokenizer.Encode(text, special)
}

func TestHugeTextIsNotEncoded(t *testing.T) {
	r := newRig(t)
	r.server.tokenizer = patientTokenizer{}
	most := patientTokenizer{}.MostBytes()
	huge := strings.Repeat("a", (fakeContext-1)*most+1)
	require.Equal(t, "The input (at least 200 tokens) is longer than the model's context length (200 tokens).", r.refused(`{"text":"`+huge+`"}`))
	require.Contains(t, r.refused(`{"text":["a","`+huge+`"]}`), "at least 200 tokens")
	require.Equal(t, "The input (796 tokens) is longer than the model's context length (200 tokens).", r.refused(`{"text":"`+huge[1:]+`"}`))
	require.Empty(t, r.engine.submitted)
}

// countingTokenizer counts how often a stop string is encoded.
type countingTokenizer struct {
	byteTokenizer
	stops *atomic.Int32
}

func (t countingTokenizer) Encode(text string, special bool) []int32 {
	if text == "stop" {
		t.stops.Add(1)
	}
	return t.byteTokenizer.Encode(text, special)
}

// TestStopsAreLookedAtOnce has prompts with the same sampling, and with one each.
func TestStopsAreLookedAtOnce(t *testing.T) {
	r := newRig(t)
	var stops atomic.Int32
	r.server.tokenizer = countingTokenizer{stops: &stops}
	r.post(`{"text":["a","b","c"],"sampling_params":{"max_new_tokens":1,"stop":"stop"}}`)
	require.EqualValues(t, 1, stops.Swap(0))
	r.post(`{"text":["a","b"],"sampling_params":[{"max_new_tokens":1,"stop":"stop"},{"max_new_tokens":1,"stop":["stop"]}]}`)
	require.EqualValues(t, 2, stops.Load())
}

func TestUnknownPathsAndMethods(t *testing.T) {
	r := newRig(t)
	status, _ := r.do(http.MethodGet, "/nowhere", "")
	require.Equal(t, http.StatusNotFound, status)
	for path, allowed := range map[string][]string{"/generate": {"POST", "PUT"}, "/flush_cache": {"GET", "POST"}, "/v1/models/lora0": {"GET"}} {
		req, err := http.NewRequest(http.MethodDelete, r.url+path, nil)
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		res.Body.Close()
		require.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)
		require.Equal(t, allowed, res.Header.Values("Allow"), path)
	}
}

// A body of two bytes for each element of a list must not take many times its size.
func TestLongListsAreRefusedEarly(t *testing.T) {
	list := func(element string, n int) string { return "[" + strings.Repeat(element+",", n-1) + element + "]" }
	for _, c := range []struct{ path, body, message string }{
		{"/generate", `{"text":` + list(`""`, maxElements+1) + `}`, "a list of at most 524288 elements"},
		{"/generate", `{"text":` + list(`""`, maxSequences+1) + `}`, "The request asks for 16385 prompts times n=1 answers"},
		{"/generate", `{"input_ids":` + list(`[1]`, maxSequences+1) + `}`, "The request asks for 16385 prompts times n=1 answers"},
		{"/generate", `{"input_ids":` + list("1", mostInts+1) + `}`, "a list of at most 4194304 integers"},
		{"/generate", `{"text":"a","sampling_params":{"stop_token_ids":` + list("1", maxElements+1) + `}}`, "stop_token_ids must be a list of at most 524288 elements"},
		{"/v1/completions", `{"prompt":` + list(`"a"`, maxSequences+1) + `}`, "The request asks for 16385 prompts times n=1 answers"},
		{"/v1/completions", `{"prompt":` + list(`[1]`, maxSequences+1) + `}`, "The request asks for 16385 prompts times n=1 answers"},
		{"/tokenize", `{"prompt":` + list(`""`, maxElements+1) + `}`, "a list of at most 524288 elements"},
	} {
		r := newRig(t, func(c *Config) { c.MaxBodyBytes = 0 })
		status, text := r.open(c.path, c.body)
		require.Equal(t, http.StatusBadRequest, status)
		require.Contains(t, text, c.message)
	}
	read := 0
	_, err := readList(func(json.RawMessage) (int, error) { read++; return 0, nil })(json.RawMessage(list("{}", 2*maxElements)))
	require.Error(t, err)
	require.Equal(t, maxElements+1, read)
}

// FuzzGenerate checks that no body makes parsing panic, or passes without a name and parameters for every answer.
func FuzzGenerate(f *testing.F) {
	for _, body := range []string{
		`{"text":"a"}`, `{"text":["a","b"],"lora_path":["x",null],"rid":"r","sampling_params":{"n":2}}`,
		`{"input_ids":[[1,2],[3]],"sampling_params":[{"stop":["a",""]},{"stop_token_ids":[1,null]}],"return_logprob":[true,false]}`,
		`{"text":"a","sampling_params":{"logit_bias":{}},"token_ids_logprob":[[1]],"lora_path":[]}`, `{"lora_path":[`, `{"text":"a","extra_key":[]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := parseObject(data)
		if err != nil {
			require.True(t, isA[*bodyError](err))
			return
		}
		g, err := parseGenerate(o)
		require.NotNil(t, g)
		if err != nil {
			status, _ := failureOf(err)
			require.Equal(t, http.StatusBadRequest, status)
			return
		}
		require.NotEmpty(t, g.prompts)
		require.GreaterOrEqual(t, g.n, 1)
		require.Len(t, g.ids, g.n*len(g.prompts))
		for _, p := range g.prompts {
			require.True(t, p.text != "" || len(p.ids) > 0 || g.array)
			require.Greater(t, p.sampling.topP, 0.0)
			require.GreaterOrEqual(t, p.logprobs.Start, -1)
		}
	})
}
