package server

import (
	"unicode/utf8"

	"lorikeet/server/engine"
)

// completionTokens is max_tokens of a completion that names none.
const completionTokens = 16

// parseCompletion reads a /v1/completions body.
func (s *Server) parseCompletion(o object) (*openRequest, error) {
	q := &openRequest{generation: &generation{}}
	if err := o.refuseOpen("suffix"); err != nil {
		return nil, err
	}
	var err error
	echo := keep[bool](&err)(field(o, "echo", readBool))
	special := keep[bool](&err)(fieldOr(o, "add_special_tokens", readBool, true))
	if err != nil {
		return nil, err
	}
	if err := q.takeOpenPrompts(o, special); err != nil {
		return nil, err
	}
	defaults := defaultSampling()
	defaults.maxNewTokens = completionTokens
	if err := q.takeOpenSampling(defaults, o, echo); err != nil { // the prompt may be all that is asked for, with its logprobs
		return nil, err
	}
	if err := s.takeOpen(q, o, len(q.prompts)); err != nil {
		return nil, err
	}
	top := keep[*int](&err)(field(o, "logprobs", nullable(readInt)))
	best := keep[*int](&err)(field(o, "best_of", nullable(readInt)))
	switch {
	case err != nil:
		return nil, err
	case best != nil && *best != q.n:
		return nil, unsupported("best_of other than n")
	case top != nil && *top < 0:
		return nil, invalid("logprobs must be at least 0, got %d.", *top)
	case top != nil && *top > engine.MaxTopLogprobs:
		return nil, invalid("logprobs must be at most %d, got %d.", engine.MaxTopLogprobs, *top)
	}
	q.form = &completionForm{server: s, echo: echo}
	if top != nil {
		return q, q.takeOpenLogprobs(s, *top, echo)
	}
	return q, nil
}

// takeOpenPrompts reads prompt: a text, ids, or a list of either. Texts may get the tokenizer's special tokens.
func (q *openRequest) takeOpenPrompts(o object, special bool) error {
	texts, wrong := oneOrMany(o, "prompt", readString)
	if err := checkSize(len(texts.values), 1); err != nil {
		return err // before there is a prompt for each
	}
	if wrong == nil {
		for _, text := range texts.values {
			if text == "" {
				return invalid("prompt cannot be empty")
			}
			q.prompts = append(q.prompts, prompt{text: text, special: !special})
		}
	} else {
		ids, err := oneOrMany(o, "prompt", readInts)
		if err != nil {
			return malformed("prompt must be a string, a list of strings, a list of token ids, or a list of such lists")
		}
		if err := checkSize(len(ids.values), 1); err != nil {
			return err
		}
		for _, list := range ids.values {
			if len(list) == 0 {
				return invalid("prompt cannot be empty")
			}
			q.prompts = append(q.prompts, prompt{ids: list, byID: true})
		}
	}
	if len(q.prompts) == 0 {
		return invalid("prompt is required and cannot be empty")
	}
	return nil
}

// takeOpenLogprobs asks for logprobs of the answers, and of the prompts from their first token on.
func (q *openRequest) takeOpenLogprobs(s *Server, top int, prompts bool) error {
	if s.tokenizer == nil {
		return invalid("logprobs name tokens by their text: the server has no tokenizer")
	}
	q.textInLogprobs = true
	start := -1
	if prompts {
		start = 0
	}
	for i := range q.prompts {
		q.prompts[i].logprobs = engine.Logprobs{Return: true, Start: start, Top: top}
	}
	return nil
}

// completionForm writes the answers of /v1/completions.
type completionForm struct {
	server *Server
	echo   bool // the prompt comes first
}

type completionChoice struct {
	Index    int                 `json:"index"`
	Text     string              `json:"text"`
	Logprobs *completionLogprobs `json:"logprobs"`
	Finish   *string             `json:"finish_reason"`
	Matched  any                 `json:"matched_stop"`
}

func (f *completionForm) objects() (string, string) { return "text_completion", "text_completion" }

func (f *completionForm) choice(a *answer) any {
	return f.next(a, &progress{})
}

func (f *completionForm) events(a *answer, sent *progress) []any {
	c := f.next(a, sent)
	if c.Text == "" && c.Logprobs == nil && c.Finish == nil {
		return nil // a character or a stop string may be about to begin
	}
	return []any{c}
}

// next is what is new of an answer.
func (f *completionForm) next(a *answer, sent *progress) *completionChoice {
	c := &completionChoice{Index: a.number, Text: sent.text(a)}
	c.Finish, c.Matched = openFinish(a)
	first := !sent.begun
	sent.begun = true
	if first && f.echo {
		c.Text = f.server.promptText(a) + c.Text
	}
	if a.logprobs.Return && (first || len(a.tokens) > sent.tokens) {
		c.Logprobs = newCompletionLogprobs()
		if first {
			sent.offsets = &offsets{decoder: f.server.tokenizer.NewDecoder(a.sampling.skipSpecial)}
			see(sent.offsets.decoder, a.prompt)
			if f.echo {
				c.Logprobs.addPrompt(a, f.server.promptOffsets(a))
				sent.offsets.characters = utf8.RuneCountInString(f.server.promptText(a))
			}
		}
		c.Logprobs.add(a, a.tokens[sent.tokens:], sent.offsets)
		sent.tokens = len(a.tokens)
	}
	return c
}

// openFinish is an answer's finish_reason and matched_stop.
func openFinish(a *answer) (reason *string, matched any) {
	if a.finish == nil {
		return nil, nil
	}
	return &a.finish.Type, a.finish.Matched
}

// promptOffsets counts the characters of promptText. A text that its client wrote shows the special tokens that it names, and none that were
// put before it.
func (s *Server) promptOffsets(a *answer) *offsets {
	if a.asked == "" {
		return &offsets{decoder: s.tokenizer.NewDecoder(true)}
	}
	put := utf8.RuneCountInString(s.tokenizer.Decode(a.prompt, false)) - utf8.RuneCountInString(a.asked)
	return &offsets{decoder: s.tokenizer.NewDecoder(false), characters: -max(0, put)} // a truncated prompt is shorter than what was asked
}

// promptText is a prompt as its client wrote it, or its ids as text.
func (s *Server) promptText(a *answer) string {
	if a.asked != "" || s.tokenizer == nil {
		return a.asked
	}
	return s.tokenizer.Decode(a.prompt, true)
}
