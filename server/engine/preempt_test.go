package engine

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/model"
)

// cramped is a pool in which four sequences of two pages can start and only two
// of them can grow to four.
var cramped = model.Limits{Rows: 24, Lanes: 4, Logits: 24, Pages: 9, Context: 120}

// TestPreemptionDoesNotShow runs sequences that outgrow the pool. Each gets the
// tokens that it gets alone, although draws depend on seed and position, and its
// prompt's log probabilities once.
func TestPreemptionDoesNotShow(t *testing.T) {
	for i := range 8 {
		overlap, late, cacheless := i&1 != 0, i&2 != 0, i&4 != 0
		t.Run(fmt.Sprintf("overlap %v late %v cacheless %v", overlap, late, cacheless), func(t *testing.T) {
			h := prepare(t, Config{Overlap: overlap, NoPrefixCache: cacheless}, cramped)
			h.fake.late = late
			var requests []Request
			for i := range 4 {
				r := greedy(stems[i%3][i:20], 40)
				r.Sampling.Seed = uint64(i)
				r.Logprobs = Logprobs{Return: true, Start: 3}
				requests = append(requests, r)
			}
			streams, err := h.Submit(t.Context(), requests)
			require.NoError(t, err)
			h.run()
			for i, s := range streams {
				tokens, prompt, _ := collect(t, s)
				want, _ := expect(&requests[i], 0)
				require.Equal(t, want, tokens)
				require.Len(t, prompt, len(requests[i].Prompt)-4)
				for j, token := range prompt {
					require.Equal(t, requests[i].Prompt[4+j], token.ID)
				}
			}
			h.balanced(t)
			require.Positive(t, h.Stats().Preemptions)
			require.EqualValues(t, 20+19+18+17, h.Stats().PromptTokens, "what is computed again does not count again")
			h.finish(t)
		})
	}
}

// TestTheLastInOrderIsPreempted lets sequences outgrow the pool one turn at a
// time: the first in order never gives its place back, whatever its priority
// made it overtake, and the one preempted is the last that runs.
func TestTheLastInOrderIsPreempted(t *testing.T) {
	h := prepare(t, Config{NoPrefixCache: true}, cramped)
	var requests []Request
	for i := range 4 {
		r := greedy(stems[i%3][:20], 40)
		r.Priority = i % 2
		requests = append(requests, r)
	}
	_, err := h.Submit(t.Context(), requests)
	require.NoError(t, err)
	preemptions := 0
	for h.admit(t.Context(), false); !h.idle(); {
		leaving := h.leaving
		s, err := h.launch(h.next())
		require.NoError(t, err)
		require.NoError(t, h.deliver(s))
		require.NoError(t, h.check())
		if leaving != nil && leaving.preempted && leaving.lane < 0 {
			preemptions++
			for _, q := range h.running {
				require.Negative(t, order(q, leaving))
			}
		}
		for _, q := range append(h.running, h.waiting...) {
			require.False(t, q.preempted && q.arrival == 2, "the oldest of those with the higher priority")
		}
	}
	require.Positive(t, preemptions)
}

// TestPreemptedInItsPrompt preempts a sequence that has computed a part of its
// prompt and of the log probabilities in it, and lets it start again.
func TestPreemptedInItsPrompt(t *testing.T) {
	h := prepare(t, Config{}, plenty)
	r := greedy(stems[1][:60], 5)
	r.Logprobs = Logprobs{Return: true, Start: 10}
	streams, err := h.Submit(t.Context(), []Request{r})
	require.NoError(t, err)
	h.admit(t.Context(), false)
	turn := func() {
		s, err := h.launch(h.next())
		require.NoError(t, err)
		require.NoError(t, h.deliver(s))
		require.NoError(t, h.check())
	}
	turn()
	turn()
	q := h.running[0]
	scored := len(q.scores)
	require.Positive(t, scored)
	require.Less(t, q.computed, len(r.Prompt))
	h.leaving = q
	computed := q.computed
	turn()
	require.True(t, q.preempted)
	require.LessOrEqual(t, computed/model.PageTokens*model.PageTokens, q.computed, "what was computed was found again")
	for !h.idle() {
		turn()
	}
	tokens, prompt, _ := collect(t, streams[0])
	want, _ := expect(&r, 0)
	require.Equal(t, want, tokens)
	require.Len(t, prompt, len(r.Prompt)-11)
	for i, token := range prompt {
		require.Equal(t, r.Prompt[11+i], token.ID)
	}
}
