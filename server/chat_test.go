package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/server/engine"
)

// plainTemplate writes "role:content|" and the calls of tools for each message, then the tools and the variable "end".
type plainTemplate struct{}

func (plainTemplate) Render(messages []json.RawMessage, variables map[string]json.RawMessage) (string, error) {
	var b strings.Builder
	for _, raw := range messages {
		var m struct {
			Role, Content string
			Calls         json.RawMessage `json:"tool_calls"`
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			return "", err
		}
		if m.Role == "developer" {
			return "", errors.New("no developers here")
		}
		b.WriteString(m.Role[:1] + ":" + m.Content + "|" + string(m.Calls))
	}
	b.Write(variables["tools"])
	b.Write(variables["reasoning_effort"])
	var end string
	if raw := variables["end"]; raw != nil {
		if err := json.Unmarshal(raw, &end); err != nil {
			return "", err
		}
	}
	return b.String() + end, nil
}

func newChatRig(t *testing.T) *rig {
	return newRig(t, func(c *Config) { c.Chat = plainTemplate{} })
}

func TestChat(t *testing.T) {
	r := newChatRig(t)
	v := r.opened("/v1/chat/completions", `{"model":"lora0","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
		{"role":"assistant","content":null}],"max_tokens":99,"max_completion_tokens":4,"chat_template_kwargs":{"end":"!"},"tools":[],"tool_choice":"auto"}`)
	require.Equal(t, "s:s|u:a b|a:|!", string(bytesOf(r.engine.last(t).Prompt)))
	require.Equal(t, "lora0", r.engine.last(t).Adapter)
	require.Equal(t, "chat.completion", get(t, v, "object"))
	require.Equal(t, map[string]any{
		"index": 0.0, "logprobs": nil, "finish_reason": "length", "matched_stop": nil,
		"message": map[string]any{"role": "assistant", "content": "s:s|", "reasoning_content": nil, "tool_calls": nil},
	}, get(t, v, "choices", 0))
	require.Equal(t, 18.0, get(t, v, "usage", "total_tokens"))

	r.opened("/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],"modalities":["text"],"reasoning_effort":"high","tools":[{"type":"function"}],"tool_choice":"none"}`)
	require.Equal(t, fakeContext-len("u:a|\"high\""), r.engine.last(t).Sampling.MaxNewTokens, "to the end of the context")
}

// An answer goes on behind the begin of it that the client sends.
func TestChatGoesOn(t *testing.T) {
	r := newChatRig(t)
	for _, more := range []string{`"continue_final_message":true`, `"continue_final_message":true,"add_generation_prompt":false`} {
		r.opened("/v1/chat/completions", `{"max_tokens":1,"messages":[{"role":"User","content":"a"},{"role":"assistant","content":"1. "}],"chat_template_kwargs":{"end":"!"},`+more+`}`)
		require.Equal(t, "u:a|!1. ", string(bytesOf(r.engine.last(t).Prompt)))
	}
	status, text := r.do(http.MethodPost, "/tokenize", `{"messages":[{"role":"user","content":"a"}]}`)
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"tokens":[117,58,97,124],"count":4,"max_model_len":200}`, text)
	status, text = r.do(http.MethodPost, "/tokenize", `{"messages":[{"role":"user","content":"a"}],"chat_template":"x"}`)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, text, "chat_template is not supported")
}

func TestChatTools(t *testing.T) {
	const tools = `[{"type":"function","function":{"name":"f","parameters":{"z":1,"a":2}}}]`
	for _, c := range []struct{ body, want string }{
		{`"messages":[{"role":"user","content":"a"}],"tools":` + tools, "u:a|" + tools},
		{`"messages":[{"role":"user","content":"a"}],"tool_choice":"auto","tools":` + tools, "u:a|" + tools},
		{`"messages":[{"role":"user","content":"a"}],"reasoning_effort":null,"tool_choice":"none","tools":` + tools, "u:a|"},
		{`"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":{"tools":[]},"tools":` + tools, "u:a|[]"},
		{
			`"messages":[{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{\"z\": 1, \"a\": [2]}"}}]},{"role":"tool","content":"3"}]`,
			`a:|[{"id":"1","function":{"name":"f","arguments":{"z":1,"a":[2]}}}]t:3|`,
		},
		{`"messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"no JSON"}}],"content":null}]`, `a:|[{"function":{"arguments":"no JSON"}}]`},
	} {
		r := newChatRig(t)
		r.opened("/v1/chat/completions", `{"max_tokens":1,`+c.body+`}`)
		require.Equal(t, c.want, string(bytesOf(r.engine.last(t).Prompt)), c.body)
	}
}

func TestWithValue(t *testing.T) {
	for _, c := range []struct{ object, want string }{
		{`{"b": 1 , "content":null,"a":2}`, `{"b": 1 , "content":"x","a":2}`},
		{` {"content" : {"content":[1]} } `, ` {"content" : "x" } `},
		{`{"a":{"content":1}}`, `{"a":{"content":1},"content":"x"}`},
		{`{"content":1,"content":[2]}`, `{"content":1,"content":"x"}`},
		{`{ }`, `{"content":"x"}`},
	} {
		require.Equal(t, c.want, string(withValue(json.RawMessage(c.object), "content", json.RawMessage(`"x"`))))
	}
}

func bytesOf(ids []int32) []byte {
	var b []byte
	for _, id := range ids {
		b = append(b, byte(id))
	}
	return b
}

func TestChatsAreSampledAsTheModelSays(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Chat = plainTemplate{}
		c.ChatSampling = map[string]json.RawMessage{
			"temperature": []byte(`0.5`), "top_p": []byte(`0.75`), "top_k": []byte(`0`), "min_p": []byte(`7`), "repetition_penalty": []byte(`1.05`),
		}
	})
	require.Equal(t, 1, strings.Count(r.log.String(), "conversations are sampled without"), "of min_p")
	const messages = `"messages":[{"role":"user","content":"a"}]`
	for _, c := range []struct {
		path, body        string
		temperature, topP float32
	}{
		{"/v1/chat/completions", messages, 0.5, 0.75},
		{"/v1/chat/completions", messages + `,"temperature":0.25`, 0.25, 0.75},
		{"/v1/chat/completions", messages + `,"top_p":1`, 0.5, 1},
		{"/v1/completions", `"prompt":"a"`, 1, 1},
	} {
		r.opened(c.path, `{`+c.body+`}`)
		got := r.engine.last(t).Sampling
		require.Equal(t, []float32{c.temperature, c.topP}, []float32{got.Temperature, got.TopP}, c.body)
		require.Zero(t, got.TopK)
		penalty := float32(0)
		if c.temperature != 1 {
			penalty = 1.05
		}
		require.Equal(t, penalty, got.RepetitionPenalty, c.body)
	}
}

func TestChatLogprobs(t *testing.T) {
	r := newChatRig(t)
	r.engine.script = scoredScript
	v := r.opened("/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],"logprobs":true,"top_logprobs":1}`)
	require.Equal(t, map[string]any{
		"token": "y", "bytes": []any{121.0}, "logprob": -1.5, "top_logprobs": []any{map[string]any{"token": "x", "bytes": []any{120.0}, "logprob": -0.5}},
	}, get(t, v, "choices", 0, "logprobs", "content", 1))

	v = r.opened("/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],"logprobs":true}`)
	require.Equal(t, []any{}, get(t, v, "choices", 0, "logprobs", "content", 0, "top_logprobs"))

	r.engine.script = func(engine.Request) []engine.Update {
		return says([]int32{0xc3, 0xa9}, engine.Finish{Reason: engine.FinishLength})
	}
	v = r.opened("/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],"logprobs":true}`)
	require.Equal(t, "é", get(t, v, "choices", 0, "message", "content"))
	require.Equal(t, []any{195.0}, get(t, v, "choices", 0, "logprobs", "content", 0, "bytes"), "part of a character")
	require.Equal(t, []any{169.0}, get(t, v, "choices", 0, "logprobs", "content", 1, "bytes"))
}

func TestChatStream(t *testing.T) {
	r := newChatRig(t)
	r.engine.script = func(engine.Request) []engine.Update {
		return says([]int32{'h', 0xc3, 0xa9, 0xff}, engine.Finish{Reason: engine.FinishStop, MatchedToken: 0xff})
	}
	_, text := r.open("/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],"stream":true,"n":2,"stream_options":{"include_usage":true}}`)
	events := eventsOf(t, text)
	deltas := map[float64][]any{}
	for _, e := range events[:len(events)-1] {
		require.Equal(t, "chat.completion.chunk", get(t, e, "object"))
		choice := get(t, e, "choices", 0).(map[string]any)
		i := choice["index"].(float64)
		deltas[i] = append(deltas[i], []any{get(t, choice, "delta", "content"), choice["finish_reason"], choice["matched_stop"]})
	}
	want := []any{[]any{"", nil, nil}, []any{"h", nil, nil}, []any{"é", nil, nil}, []any{nil, "stop", 255.0}} // no half a character
	require.Equal(t, map[float64][]any{0: want, 1: want}, deltas)
	require.Equal(t, 8.0, get(t, events[len(events)-1], "usage", "completion_tokens"))
	require.Equal(t, 4.0, get(t, events[len(events)-1], "usage", "prompt_tokens"))
}

func TestChatRefusals(t *testing.T) {
	r := newChatRig(t)
	const user = `{"role":"user","content":"a"}`
	for _, c := range []struct{ body, want string }{
		{`{"messages":[]}`, "messages is required and cannot be empty"},
		{`{"messages":"a"}`, "messages must be a list, got a string"},
		{`{"messages":[{"role":"robot","content":"a"}]}`, `messages[0]: role must be system, developer, user, assistant or tool, got "robot"`},
		{`{"messages":[` + user + `,{"role":"user","content":3}]}`, "messages[1]: content must be a string or a list of parts, got a number"},
		{`{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, `messages[0]: content[0] is of type "image_url"; this server takes text only`},
		{`{"messages":[{"role":"developer","content":"a"}]}`, "the model's chat template: no developers here"},
		{`{"messages":[3]}`, "messages[0]: it must be an object, got a number"},
		{`{"messages":[{"role":"assistant","tool_calls":[3]}]}`, "messages[0]: tool_calls[0] must be an object"},
		{`{"messages":[` + user + `,{"role":"user"}]}`, "messages[1]: content is required of a user"},
		{`{"messages":[{"role":"user","content":null}]}`, "messages[0]: content is required of a user"},
		{`{"messages":[` + user + `],"tool_choice":"required"}`, "tool_choice needs tools"},
		{`{"messages":[` + user + `],"tools":[],"tool_choice":{"type":"function","function":{"name":"f"}}}`, "tool_choice needs tools"},
		{`{"messages":[` + user + `],"tools":[{"type":"function"}]}`, "tools[0]: function must be an object"},
		{`{"messages":[` + user + `],"tools":[{"function":{}}]}`, "tools[0]: function needs a name"},
		{`{"messages":[` + user + `],"tools":[{"function":{"name":"f"}}],"tool_choice":"required"}`, `tool_choice "required" is not supported by this server; it would change the answer, so the request is refused.`},
		{`{"messages":[` + user + `],"tools":[{"function":{"name":"f"}}],"tool_choice":{"type":"function"}}`, "tool_choice of a function is not supported by this server; it would change the answer, so the request is refused."},
		{`{"messages":[` + user + `],"continue_final_message":true}`, "continue_final_message needs a last message of the assistant without tool_calls"},
		{`{"messages":[{"role":"assistant","content":"a","tool_calls":[{"function":{"name":"f"}}]}],"continue_final_message":true}`, "continue_final_message needs a last message of the assistant without tool_calls"},
		{`{"messages":[` + user + `],"echo":true}`, "echo is not supported by this server; it would change the answer, so the request is refused."},
		{`{"messages":[` + user + `],"add_generation_prompt":false}`, "add_generation_prompt: false is not supported by this server; it would change the answer, so the request is refused."},
		{`{"messages":[` + user + `],"max_completion_tokens":0}`, "max_completion_tokens must be positive"},
		{`{"messages":[` + user + `],"top_logprobs":2}`, "top_logprobs needs logprobs to be true"},
		{`{"messages":[` + user + `],"logprobs":true,"top_logprobs":65}`, "top_logprobs must be at most 64, got 65."},
		{`{"messages":[{"role":"user","content":[{"type":"text"}]}]}`, "messages[0]: content[0]: text must be a string, got nothing"},
		{`{"messages":[{"role":"user","content":[{"type":"text","text":null}]}]}`, "messages[0]: content[0]: text must be a string, got null"},
		{`{"messages":[` + user + `],"chat_template_kwargs":{"messages":[` + user + `]}}`, "chat_template_kwargs: messages is not supported by this server; it would change the answer, so the request is refused."},
		{`{"messages":[` + user + `],"chat_template_kwargs":{"add_generation_prompt":false}}`, "chat_template_kwargs: add_generation_prompt: false is not supported by this server; it would change the answer, so the request is refused."},
	} {
		status, text := r.open("/v1/chat/completions", c.body)
		require.Equal(t, http.StatusBadRequest, status, text)
		var v any
		require.NoError(t, json.Unmarshal([]byte(text), &v))
		require.Equal(t, c.want, get(t, v, "message"), c.body)
	}
	require.Empty(t, r.engine.submitted)
}
