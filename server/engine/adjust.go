package engine

import (
	"cmp"
	"math"
	"slices"

	"lorikeet/model"
)

// A sequence's logits are adjusted as SGLang does it: divided or multiplied for
// what the prompt or the answer has already, less for what the answer has, more
// or less for what the request names; and what would end the answer is
// forbidden until it has its least tokens.

// penalized says whether a token changes what comes after it.
func (s *Sampling) penalized() bool {
	return s.FrequencyPenalty != 0 || s.PresencePenalty != 0 || s.repetition() != 1
}

func (s *Sampling) repetition() float32 { return cmp.Or(s.RepetitionPenalty, 1) }

// count begins to count the tokens that penalties look at.
func (q *sequence) count() {
	s := &q.request.Sampling
	if !s.penalized() {
		return
	}
	q.counts = map[int32]int32{}
	if s.repetition() != 1 {
		for _, t := range q.request.Prompt {
			q.counts[t] = 0
		}
	}
}

// waitsForToken says whether a sequence can only go on once a token is there
// that is still in flight.
func (q *sequence) waitsForToken() bool { return q.counts != nil && q.inFlight > 0 }

// mostAdjusts is how many adjustments the next token takes at most.
func (q *sequence) mostAdjusts(ends []int32) int {
	s := &q.request.Sampling
	n := len(q.counts) + len(s.Bias)
	if q.launched < s.MinNewTokens {
		n += len(ends) + len(s.StopTokens)
	}
	return n
}

// adjust appends the adjustments of the next token, one for each token that has
// any.
func (q *sequence) adjust(list []model.Adjustment, ends []int32) []model.Adjustment {
	s := &q.request.Sampling
	var forbidden [2][]int32
	if q.launched < s.MinNewTokens {
		forbidden = [2][]int32{ends, s.StopTokens}
	}
	with := func(token int32, factor, add float32) {
		if slices.Contains(forbidden[0], token) || slices.Contains(forbidden[1], token) {
			add = float32(math.Inf(-1))
		}
		list = append(list, model.Adjustment{Token: uint32(token), Factor: factor, Add: add})
	}
	first := len(list)
	for token, n := range q.counts {
		add := s.Bias[token] - s.FrequencyPenalty*float32(n)
		if n > 0 {
			add -= s.PresencePenalty
		}
		with(token, s.repetition(), add)
	}
	for token, add := range s.Bias {
		if _, ok := q.counts[token]; !ok {
			with(token, 1, add)
		}
	}
	for _, tokens := range forbidden {
		for _, token := range tokens {
			if !slices.ContainsFunc(list[first:], func(a model.Adjustment) bool { return a.Token == uint32(token) }) {
				with(token, 1, 0)
			}
		}
	}
	return list
}
