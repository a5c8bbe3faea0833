package engine

import (
	"math"
	"slices"
	"sync/atomic"
	"time"

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

	submitted time.Time
	arrival   uint64
	tokens    []int32 // the prompt, then what was produced
	known     int     // of the tokens, those that were there at the start: they run in chunks

	lane   int // -1: not running
	slot   int // adapter slot while running, or model.Base
	pages  []int32
	shared int     // of the pages, the first ones that are in the prefix cache
	prefix *prefix // the last of these
	tabled int     // pages that the model's page table has

	next     int // position of the first row not launched yet
	computed int // rows that collected steps have computed
	launched int // tokens whose sampling was launched
	produced int // tokens delivered
	inFlight int // steps launched and not delivered that refer to this sequence
	finished bool
	broken   bool // its logits were not numbers: nothing of it is shared

	preempted bool   // has run before, and gave everything back
	passed    bool   // found no place for its adapter
	passedAt  uint64 // starts of others until then

	counts    map[int32]int32 // how often the answer has a token, of those that penalties look at; nil: none do
	forbidden map[int32]bool  // tokens that would end the answer, until it has its least

	scoreFrom int     // the first row whose log probability is wanted still
	scores    []Token // prompt log probabilities gathered so far
}

// noScores is scoreFrom of a sequence that wants no more prompt log
// probabilities.
const noScores = math.MaxInt

// adapterID is the adapter's id, 0 for the base model.
func (s *sequence) adapterID() uint64 {
	if s.adapter == nil {
		return 0
	}
	return s.adapter.Adapter().ID
}

// owner is whose prefixes the sequence finds and leaves.
func (s *sequence) owner() owner { return owner{s.adapterID(), s.request.Namespace} }

// prefilling says whether rows of known tokens remain to be launched.
func (s *sequence) prefilling() bool { return s.next < s.known }

// runs says whether rows remain to be launched.
func (s *sequence) runs() bool {
	return !s.finished && (s.prefilling() || s.launched < s.request.Sampling.MaxNewTokens)
}

// stops says whether a token ends the sequence.
func (s *sequence) stops(token int32, ends []int32) bool {
	if _, found := slices.BinarySearch(s.request.Sampling.StopTokens, token); found {
		return true
	}
	return !s.request.Sampling.IgnoreEOS && slices.Contains(ends, token)
}

// score returns the prompt tokens whose log probability is wanted among the
// rows [first, first+rows) and the index of the first such row. A row scores
// the token that follows it.
func (s *sequence) score(first, rows int) (targets []int32, from int) {
	from = max(first, s.scoreFrom)
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
