package server

import (
	"math"
	"unicode/utf8"

	"lorikeet/server/engine"
)

// completionLogprobs are parallel lists, with an entry for each token.
type completionLogprobs struct {
	Offsets  []int                 `json:"text_offset"` // characters of the tokens before, special ones among them
	Logprobs []*float32            `json:"token_logprobs"`
	Tokens   []string              `json:"tokens"`
	Top      []map[string]*float32 `json:"top_logprobs"`

	characters int // up to the last token
}

// newCompletionLogprobs begins lists behind so many characters.
func newCompletionLogprobs(characters int) *completionLogprobs {
	return &completionLogprobs{
		Offsets: []int{}, Logprobs: []*float32{}, Tokens: []string{}, Top: []map[string]*float32{}, characters: characters,
	}
}

// addPrompt adds the prompt, whose first token has no logprob.
func (l *completionLogprobs) addPrompt(a *answer) {
	l.add(a, []engine.Token{{ID: a.prompt[0], Logprob: float32(math.NaN())}})
	l.add(a, a.scores)
}

func (l *completionLogprobs) add(a *answer, tokens []engine.Token) {
	for _, t := range tokens {
		text := a.tokenText(t.ID)
		l.Tokens = append(l.Tokens, text)
		l.Logprobs = append(l.Logprobs, finite(t.Logprob))
		l.Offsets = append(l.Offsets, l.characters)
		l.characters += utf8.RuneCountInString(text)
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
	text := a.tokenText(id)
	s := tokenScore{Token: text, Bytes: make([]int, len(text)), Logprob: finite(logprob)}
	for i := range len(text) {
		s.Bytes[i] = int(text[i])
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
