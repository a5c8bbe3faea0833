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

// forbidden are the tokens of the vocabulary that may not be drawn until the
// answer has its least tokens, nil for none.
func (s *Sampling) forbidden(ends []int32, vocab int) map[int32]bool {
	if s.MinNewTokens == 0 {
		return nil
	}
	tokens := map[int32]bool{}
	for _, list := range [...][]int32{ends, s.StopTokens} {
		for _, t := range list {
			if t >= 0 && int(t) < vocab {
				tokens[t] = true
			}
		}
	}
	return tokens
}

// forbidsAll says whether there is no token that may be drawn at first.
func (s *Sampling) forbidsAll(ends []int32, vocab int) bool {
	if s.MinNewTokens == 0 {
		return false
	}
	for t := range int32(vocab) {
		if _, stop := slices.BinarySearch(s.StopTokens, t); !stop && !slices.Contains(ends, t) {
			return false
		}
	}
	return true
}

// prepareAdjusting notes which tokens may not be drawn at first, and begins to
// count those that penalties look at. It waits until the sequence starts: there
// may be thousands that wait, each with a prompt's worth of counts.
func (q *sequence) prepareAdjusting(ends []int32, vocab int) {
	s := &q.request.Sampling
	q.forbidden = s.forbidden(ends, vocab)
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

// preparing is at most how many entries prepareAdjusting will make.
func (q *sequence) preparing() int {
	s, entries := &q.request.Sampling, 0
	if q.preempted {
		return 0
	}
	if s.MinNewTokens > 0 {
		entries += len(s.StopTokens)
	}
	if s.repetition() != 1 {
		entries += len(q.request.Prompt)
	}
	return entries
}

// waitsForToken says whether a sequence can only go on once a token is there
// that is still in flight.
func (q *sequence) waitsForToken() bool { return q.counts != nil && q.inFlight > 0 }

// barred are the tokens that may not be the next one.
func (q *sequence) barred() map[int32]bool {
	if q.launched < q.request.Sampling.MinNewTokens {
		return q.forbidden
	}
	return nil
}

// mostAdjusts is how many adjustments the next token takes at most.
func (q *sequence) mostAdjusts() int {
	return len(q.counts) + len(q.request.Sampling.Bias) + len(q.barred())
}

// adjust appends the adjustments of the next token, one for each token that has
// any.
func (q *sequence) adjust(list []model.Adjustment) []model.Adjustment {
	s, barred := &q.request.Sampling, q.barred()
	with := func(token int32, factor, add float32) {
		if barred[token] {
			add = float32(math.Inf(-1))
		}
		list = append(list, model.Adjustment{Token: uint32(token), Factor: factor, Add: add})
	}
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
	for token := range barred {
		_, counted := q.counts[token]
		if _, biased := s.Bias[token]; !counted && !biased {
			with(token, 1, 0)
		}
	}
	return list
}
