package server

import (
	"bytes"
	"math"
	"strconv"

	"lorikeet/server/engine"
)

// response is one answer as the client sees it. Text, ids and what is said of each output id are everything so far, in each event of a
// stream, or what is new in it. What is said of the prompt is in each event.
type response struct {
	Text      string   `json:"text"`
	OutputIDs []int32  `json:"output_ids"`
	PromptIDs []int32  `json:"prompt_token_ids,omitempty"`
	Meta      metaInfo `json:"meta_info"`
	Index     *int     `json:"index,omitempty"` // in streams of several answers
}

type metaInfo struct {
	ID               string        `json:"id"`
	FinishReason     *finishReason `json:"finish_reason"`
	PromptTokens     int           `json:"prompt_tokens"`
	WeightVersion    string        `json:"weight_version"`
	Retractions      int           `json:"num_retractions"`
	ReasoningTokens  int           `json:"reasoning_tokens"`
	CompletionTokens int           `json:"completion_tokens"`
	CachedTokens     int           `json:"cached_tokens"`
	Latency          *float64      `json:"e2e_latency,omitempty"`                // seconds
	Sent             *float64      `json:"response_sent_to_client_ts,omitempty"` // seconds since 1970
	*logprobLists
	*topLists
	*idLists
}

// weightVersion is what SGLang reports of weights that were never replaced.
const weightVersion = "default"

// logprobLists describe the prompt from logprob_start_len on and the completion, one entry for each token. The first
// prompt entry has no logprob: nothing that was scored comes before it.
type logprobLists struct {
	Input  []scored `json:"input_token_logprobs"`
	Output []scored `json:"output_token_logprobs"`
	Length int      `json:"output_token_logprobs_length"`
}

type topLists struct {
	Input  [][]scored `json:"input_top_logprobs"`
	Output [][]scored `json:"output_top_logprobs"`
}

type idLists struct {
	Input  [][]scored `json:"input_token_ids_logprobs"`
	Output [][]scored `json:"output_token_ids_logprobs"`
}

// scored is written as [logprob, id, text]; a logprob that is missing or not finite is null, as is text not asked for.
type scored struct {
	logprob float32
	id      int32
	text    *string
}

func (s scored) MarshalJSON() ([]byte, error) {
	out := []byte{'['}
	if f := float64(s.logprob); math.IsNaN(f) || math.IsInf(f, 0) {
		out = append(out, "null"...)
	} else {
		out = strconv.AppendFloat(out, f, 'g', -1, 32)
	}
	out = append(out, ',')
	out = strconv.AppendInt(out, int64(s.id), 10)
	out = append(out, ',')
	text := bytes.NewBuffer(out)
	if err := encoder(text).Encode(s.text); err != nil {
		return nil, err
	}
	return append(bytes.TrimRight(text.Bytes(), "\n"), ']'), nil
}

// told is how much of an answer a client has been told: ids, and bytes of text.
type told struct{ ids, text int }

// response describes the answer so far.
func (a *answer) response() *response { return a.responseSince(told{}) }

// news describes what the client has not been told, and notes that it has.
func (a *answer) news() *response {
	r := a.responseSince(a.told)
	a.told.ids += len(r.OutputIDs)
	a.told.text += len(r.Text)
	return r
}

func (a *answer) responseSince(t told) *response {
	r := &response{
		Text: a.visibleFrom(t.text), OutputIDs: a.ids[t.ids:], Index: a.index,
		Meta: metaInfo{
			ID: a.id, FinishReason: a.finish, PromptTokens: len(a.prompt), WeightVersion: weightVersion,
			CompletionTokens: len(a.ids), CachedTokens: a.cached,
		},
	}
	if r.OutputIDs == nil {
		r.OutputIDs = []int32{}
	}
	if a.promptIDs {
		r.PromptIDs = a.prompt
	}
	if a.finish != nil {
		latency, sent := a.elapsed.Seconds(), float64(a.sent.UnixMicro())/1e6
		r.Meta.Latency, r.Meta.Sent = &latency, &sent
	}
	if a.logprobs.Return {
		a.addLogprobs(&r.Meta, a.tokens[t.ids:])
	}
	return r
}

// addLogprobs describes the prompt, and these tokens of the completion.
func (a *answer) addLogprobs(m *metaInfo, tokens []engine.Token) {
	m.logprobLists = &logprobLists{Input: []scored{}, Output: []scored{}, Length: len(a.tokens)}
	if a.logprobs.Start >= 0 {
		m.logprobLists.Input = append(m.logprobLists.Input, a.score(float32(math.NaN()), a.prompt[a.logprobs.Start]))
	}
	for _, t := range a.scores {
		m.logprobLists.Input = append(m.logprobLists.Input, a.score(t.Logprob, t.ID))
	}
	for _, t := range tokens {
		m.logprobLists.Output = append(m.logprobLists.Output, a.score(t.Logprob, t.ID))
	}
	if a.logprobs.Top > 0 {
		top := func(t engine.Token) []engine.TokenLogprob { return t.Top }
		m.topLists = &topLists{Input: a.inputLists(top), Output: a.lists(tokens, top)}
	}
	if len(a.logprobs.IDs) > 0 {
		ids := func(t engine.Token) []engine.TokenLogprob { return t.IDs }
		m.idLists = &idLists{Input: a.inputLists(ids), Output: a.lists(tokens, ids)}
	}
}

// inputLists begins with null, for the prompt token that has no logprob.
func (a *answer) inputLists(of func(engine.Token) []engine.TokenLogprob) [][]scored {
	if a.logprobs.Start < 0 {
		return [][]scored{}
	}
	return append([][]scored{nil}, a.lists(a.scores, of)...)
}

func (a *answer) lists(tokens []engine.Token, of func(engine.Token) []engine.TokenLogprob) [][]scored {
	lists := make([][]scored, len(tokens))
	for i, t := range tokens {
		lists[i] = make([]scored, len(of(t)))
		for j, l := range of(t) {
			lists[i][j] = a.score(l.Logprob, l.ID)
		}
	}
	return lists
}

func (a *answer) score(logprob float32, id int32) scored {
	s := scored{logprob: logprob, id: id}
	if a.tokenText != nil {
		text := a.tokenText(id)
		s.text = &text
	}
	return s
}
