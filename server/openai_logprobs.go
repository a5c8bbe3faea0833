package server

import (
	"math"
	"unicode/utf8"

	"lorikeet/server/engine"
)

// completionLogprobs are parallel lists, with an entry for each token.
type completionLogprobs struct {
	Offsets  []int                 `json:"text_offset"` // where the token begins in the choice's text, in characters
	Logprobs []*float32            `json:"token_logprobs"`
	Tokens   []string              `json:"tokens"`
	Top      []map[string]*float32 `json:"top_logprobs"`
}

func newCompletionLogprobs() *completionLogprobs {
	return &completionLogprobs{Offsets: []int{}, Logprobs: []*float32{}, Tokens: []string{}, Top: []map[string]*float32{}}
}

// offsets counts the characters of a text that grows by tokens.
type offsets struct {
	decoder    Decoder
	characters int // less than 0 in what comes before the text
}

// past is where a token begins, which the text then has. The parts of a character begin where it does, and so does what follows a token
// that does not show.
func (o *offsets) past(id int32) int {
	at := max(0, o.characters)
	o.characters += utf8.RuneCountInString(o.decoder.Push(id))
	return at
}

// addPrompt adds the prompt, whose first token has no logprob.
func (l *completionLogprobs) addPrompt(a *answer, o *offsets) {
	l.add(a, []engine.Token{{ID: a.prompt[0], Logprob: float32(math.NaN())}}, o)
	l.add(a, a.scores, o)
}

func (l *completionLogprobs) add(a *answer, tokens []engine.Token, o *offsets) {
	for _, t := range tokens {
		text := a.tokenText(t.ID)
		l.Tokens = append(l.Tokens, text)
		l.Logprobs = append(l.Logprobs, finite(t.Logprob))
		l.Offsets = append(l.Offsets, o.past(t.ID))
		var top map[string]*float32
		for _, e := range t.Top {
			if top == nil {
				top = map[string]*float32{}
			}
			// Tokens of the same text: the more likely comes first.
			if text := a.tokenText(e.ID); top[text] == nil {
				top[text] = finite(e.Logprob)
			}
		}
		l.Top = append(l.Top, top)
	}
}

// chatLogprobs has an entry for each token.
type chatLogprobs struct {
	Content []chatToken `json:"content"`
}

type chatToken struct {
	tokenScore
	Top []tokenScore `json:"top_logprobs"`
}

type tokenScore struct {
	Token   string   `json:"token"`
	Bytes   []int    `json:"bytes"`
	Logprob *float32 `json:"logprob"`
}

func (a *answer) chatLogprobs(tokens []engine.Token) *chatLogprobs {
	l := &chatLogprobs{Content: []chatToken{}}
	for _, t := range tokens {
		c := chatToken{tokenScore: a.tokenScore(t.ID, t.Logprob), Top: []tokenScore{}}
		for _, e := range t.Top {
			c.Top = append(c.Top, a.tokenScore(e.ID, e.Logprob))
		}
		l.Content = append(l.Content, c)
	}
	return l
}

func (a *answer) tokenScore(id int32, logprob float32) tokenScore {
	s := tokenScore{Token: a.tokenText(id), Bytes: []int{}, Logprob: finite(logprob)}
	for _, b := range a.tokenBytes(id) {
		s.Bytes = append(s.Bytes, int(b))
	}
	return s
}

// finite is nil for what JSON has no number for.
func finite(f float32) *float32 {
	if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
		return nil
	}
	return &f
}
