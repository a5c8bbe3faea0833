package engine

import (
	"sync/atomic"

	"lorikeet/lora"
	"lorikeet/model"
)

// sequence is a request on its way through the engine.
type sequence struct {
	request  *Request
	sampling model.Sampling
	stream   *Stream
	adapter  *lora.Ref // nil: base model
	cancel   atomic.Bool

	lane   int // -1: not admitted
	slot   int // adapter slot while admitted, or model.Base
	pages  []int32
	tabled int // pages that the model's page table has

	next      int // position of the first row not launched yet
	launched  int // tokens whose sampling was launched
	produced  int // tokens delivered
	inFlight  int // steps launched and not delivered that refer to this sequence
	finished  bool
	overtaken int     // sequences admitted before this one although they came later
	scores    []Token // prompt log probabilities gathered so far
}

// prefilling says whether prompt rows remain to be launched.
func (s *sequence) prefilling() bool { return s.next < len(s.request.Prompt) }

// exhausted says whether every row this sequence can need was launched.
func (s *sequence) exhausted() bool {
	return !s.prefilling() && s.launched >= s.request.Sampling.MaxNewTokens
}

// stops says whether a token ends the sequence.
func (s *sequence) stops(token int32, ends []int32) bool {
	for _, t := range s.request.Sampling.StopTokens {
		if t == token {
			return true
		}
	}
	if s.request.Sampling.IgnoreEOS {
		return false
	}
	for _, t := range ends {
		if t == token {
			return true
		}
	}
	return false
}

// score returns the prompt tokens whose log probability is wanted among the
// rows [first, first+rows) and the index of the first such row. A row scores
// the token that follows it.
func (s *sequence) score(first, rows int) (targets []int32, from int) {
	if !s.request.Logprobs.Return || s.request.Logprobs.Start < 0 {
		return nil, 0
	}
	from = max(first, s.request.Logprobs.Start)
	to := min(first+rows, len(s.request.Prompt)-1)
	if from >= to {
		return nil, 0
	}
	return s.request.Prompt[from+1 : to+1], from - first
}

// logprobs is what the model is to report beside each token.
func (s *sequence) logprobs() model.Logprobs {
	l := &s.request.Logprobs
	if !l.Return {
		return model.Logprobs{}
	}
	return model.Logprobs{Top: l.Top, IDs: l.IDs}
}
