package server

import (
	"cmp"
	"encoding/json"
	"log/slog"

	"lorikeet/server/engine"
)

// ChatTemplate writes a conversation as the text of a prompt.
type ChatTemplate interface {
	// Render ends where the assistant's answer begins. Messages are objects with role and content; variables are what the
	// template sees beside them. An error says what of the conversation does not fit.
	Render(messages []json.RawMessage, variables map[string]json.RawMessage) (string, error)
}

// errNoTemplate refuses conversations with a model that has no form for them.
var errNoTemplate = invalid("this model has no chat template: start the server with --chat-template, or use /v1/completions")

// refusedInChats are keys that would change an answer.
var refusedInChats = []string{
	"functions", "function_call", "audio", "input_ids", "chat_template", "documents", "echo", "add_special_tokens",
}

// refusedVariables are those of the template that are not the client's to set beside the messages.
var refusedVariables = []string{"messages", "chat_template", "continue_final_message"}

// parseChat reads a /v1/chat/completions body.
func (s *Server) parseChat(o object) (*openRequest, error) {
	if err := o.refuseOpen(refusedInChats...); err != nil {
		return nil, err
	}
	text, err := s.conversation(o)
	if err != nil {
		return nil, err
	}
	q := &openRequest{generation: &generation{prompts: []prompt{{text: text, special: true}}}, form: &chatForm{}}
	if err := q.takeOpenSampling(s.chats, o, false); err != nil {
		return nil, err
	}
	if err := s.takeOpen(q, o, 1); err != nil {
		return nil, err
	}
	return q, q.takeChatLogprobs(o)
}

// chatDefaults is the sampling of conversations that name none: the model's own, and an answer up to the end of the context.
func chatDefaults(own map[string]json.RawMessage, log *slog.Logger) sampling {
	s := defaultSampling()
	s.toContextEnd = true
	for key, raw := range own {
		with := s
		err := samplingKeys[key](&with, raw)
		if with.topK == 0 { // how transformers turns it off
			with.topK = -1
		}
		if err == nil {
			err = with.check()
		}
		if err != nil {
			log.Warn("conversations are sampled without what the model's generation_config.json says", "key", key, "value", string(raw), "why", err)
			continue
		}
		s = with
	}
	return s
}

// conversation is the prompt that the messages are. With continue_final_message the last one is the beginning of the answer.
func (s *Server) conversation(o object) (string, error) {
	var err error
	goesOn := keep[bool](&err)(field(o, "continue_final_message", readBool))
	prompted := keep[bool](&err)(fieldOr(o, "add_generation_prompt", readBool, true))
	messages := keep[[]json.RawMessage](&err)(field(o, "messages", readList(readRaw)))
	variables := keep[object](&err)(field(o, "chat_template_kwargs", readObjectValue))
	switch {
	case err != nil:
		return "", err
	case len(messages) == 0:
		return "", invalid("messages is required and cannot be empty")
	case !prompted && !goesOn:
		return "", unsupported("add_generation_prompt: false")
	case s.tokenizer == nil:
		return "", errNoTokenizer
	case s.config.Chat == nil:
		return "", errNoTemplate
	}
	if err := variables.refuse(refusedVariables...); err != nil {
		return "", invalid("chat_template_kwargs: %v", err)
	}
	if begun, err := fieldOr(variables, "add_generation_prompt", readBool, true); err != nil || !begun {
		return "", invalid("chat_template_kwargs: %v", cmp.Or(err, unsupported("add_generation_prompt: false")))
	}
	for i, m := range messages {
		if messages[i], err = readMessage(m); err != nil {
			return "", invalid("messages[%d]: %v", i, err)
		}
	}
	if variables, err = withTools(o, variables); err != nil {
		return "", err
	}
	if effort := o["reasoning_effort"]; len(effort) > 0 && kind(effort) != "null" && variables["reasoning_effort"] == nil {
		variables = variables.with("reasoning_effort", effort)
	}
	var answer string
	if goesOn {
		if answer, err = begunAnswer(messages[len(messages)-1]); err != nil {
			return "", err
		}
		messages = messages[:len(messages)-1]
	}
	text, err := s.config.Chat.Render(messages, variables)
	if err != nil {
		return "", invalid("the model's chat template: %v", err)
	}
	return text + answer, nil
}

func (q *openRequest) takeChatLogprobs(o object) error {
	var err error
	wanted := keep[bool](&err)(field(o, "logprobs", readBool))
	top := keep[int](&err)(field(o, "top_logprobs", readInt))
	switch {
	case err != nil:
		return err
	case top < 0:
		return invalid("top_logprobs must be at least 0, got %d.", top)
	case top > engine.MaxTopLogprobs:
		return invalid("top_logprobs must be at most %d, got %d.", engine.MaxTopLogprobs, top)
	case top > 0 && !wanted:
		return invalid("top_logprobs needs logprobs to be true")
	case wanted:
		q.textInLogprobs = true
		q.prompts[0].logprobs = engine.Logprobs{Return: true, Start: -1, Top: top}
	}
	return nil
}

// chatForm writes the answers of /v1/chat/completions.
type chatForm struct{}

type chatChoice struct {
	Index    int           `json:"index"`
	Message  *chatMessage  `json:"message,omitempty"`
	Delta    *chatMessage  `json:"delta,omitempty"` // in events
	Logprobs *chatLogprobs `json:"logprobs"`
	Finish   *string       `json:"finish_reason"`
	Matched  any           `json:"matched_stop"`
}

type chatMessage struct {
	Role      string  `json:"role,omitempty"`
	Content   *string `json:"content"`
	Reasoning *string `json:"reasoning_content"`
	ToolCalls []any   `json:"tool_calls"`
}

func (*chatForm) objects() (string, string) { return "chat.completion", "chat.completion.chunk" }

func (*chatForm) choice(a *answer) any {
	text := a.visible()
	c := &chatChoice{Index: a.number, Message: &chatMessage{Role: "assistant", Content: &text}}
	c.Finish, c.Matched = openFinish(a)
	if a.logprobs.Return {
		c.Logprobs = a.chatLogprobs(a.tokens)
	}
	return c
}

// events begin with the role and end with the reason why the answer has ended.
func (*chatForm) events(a *answer, sent *progress) []any {
	var events []any
	if !sent.begun {
		sent.begun = true
		empty := ""
		events = append(events, &chatChoice{Index: a.number, Delta: &chatMessage{Role: "assistant", Content: &empty}})
	}
	text, fresh := sent.text(a), a.tokens[sent.tokens:]
	if sent.tokens = len(a.tokens); text != "" || len(fresh) > 0 {
		c := &chatChoice{Index: a.number, Delta: &chatMessage{Content: &text}}
		if a.logprobs.Return {
			c.Logprobs = a.chatLogprobs(fresh)
		}
		events = append(events, c)
	}
	if a.finish != nil {
		c := &chatChoice{Index: a.number, Delta: &chatMessage{}}
		c.Finish, c.Matched = openFinish(a)
		events = append(events, c)
	}
	return events
}
