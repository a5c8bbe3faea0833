package engine

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/model"
)

func TestAdjustments(t *testing.T) {
	never := float32(math.Inf(-1))
	for _, c := range []struct {
		describe string
		sampling Sampling
		produced []int32
		want     []model.Adjustment // by token
	}{
		{"nothing asked for", Sampling{}, []int32{4}, nil},
		{"frequency", Sampling{FrequencyPenalty: 0.5}, []int32{4, 7, 4}, []model.Adjustment{{Token: 4, Factor: 1, Add: -1}, {Token: 7, Factor: 1, Add: -0.5}}},
		{"presence", Sampling{PresencePenalty: 2}, []int32{4, 4}, []model.Adjustment{{Token: 4, Factor: 1, Add: -2}}},
		{"nothing produced", Sampling{PresencePenalty: 2}, nil, nil},
		{"repetition, of the prompt as well", Sampling{RepetitionPenalty: 1.5}, []int32{4}, []model.Adjustment{
			{Token: 1, Factor: 1.5}, {Token: 2, Factor: 1.5}, {Token: 4, Factor: 1.5},
		}},
		{"repetition and presence, of the answer alone", Sampling{RepetitionPenalty: 1.5, PresencePenalty: 1}, []int32{2}, []model.Adjustment{
			{Token: 1, Factor: 1.5}, {Token: 2, Factor: 1.5, Add: -1},
		}},
		{"bias", Sampling{Bias: map[int32]float32{9: 3}, FrequencyPenalty: 1}, []int32{9, 4}, []model.Adjustment{
			{Token: 4, Factor: 1, Add: -1}, {Token: 9, Factor: 1, Add: 2},
		}},
		{"too few tokens", Sampling{MinNewTokens: 2, StopTokens: []int32{5, 9, 3, 5, 20, math.MaxInt32, -1}, Bias: map[int32]float32{9: 3, 1: 1}}, []int32{4}, []model.Adjustment{
			{Token: 1, Factor: 1, Add: 1}, {Token: 3, Factor: 1, Add: never}, {Token: 5, Factor: 1, Add: never}, {Token: 8, Factor: 1, Add: never}, {Token: 9, Factor: 1, Add: never},
		}},
		{"enough tokens", Sampling{MinNewTokens: 2, StopTokens: []int32{5}}, []int32{4, 6}, nil},
	} {
		c.sampling.MaxNewTokens = 10
		ends := []int32{3, 8}
		q := &sequence{request: &Request{Prompt: []int32{1, 2, 1}, Sampling: c.sampling}}
		q.prepareAdjusting(ends, 20)
		for _, token := range c.produced {
			q.launched++
			if q.counts != nil {
				q.counts[token]++
			}
		}
		before := []model.Adjustment{{Token: 3}} // another sequence's
		got := q.adjust(before)[1:]
		slices.SortFunc(got, func(a, b model.Adjustment) int { return cmp.Compare(a.Token, b.Token) })
		require.Equal(t, c.want, append([]model.Adjustment(nil), got...), c.describe)
		require.GreaterOrEqual(t, q.mostAdjusts(), len(got), c.describe)
	}
}

// Sequences whose tokens penalize what comes after them wait for each; others go on beside them, and a step has no more adjustments than
// there is room for.
func TestPenalizedSequencesWaitForTheirTokens(t *testing.T) {
	limits := testLimits
	limits.Adjusts = 12
	h := start(t, true, limits)
	h.fake.watch = func(b *model.Batch) {
		adjusts := 0
		for i := range b.Runs {
			run := &b.Runs[i]
			adjusts += len(run.Adjust)
			if run.Sample == nil || run.Sample.Seed%2 == 0 {
				continue
			}
			for _, other := range h.fake.inFlight {
				for j := range other.batch.Runs {
					if other.batch.Runs[j].Sample == run.Sample {
						h.fake.wrong("a token before the one that it depends on")
					}
				}
			}
		}
		if adjusts > limits.Adjusts {
			h.fake.wrong("%d adjustments", adjusts)
		}
	}
	var requests []Request
	for seed := range uint64(8) {
		r := Request{ID: "r", Prompt: []int32{1, 2, 3}, Sampling: Sampling{MaxNewTokens: 9, Seed: seed, TopP: 1, IgnoreEOS: true}}
		if seed%2 == 1 {
			r.Sampling.RepetitionPenalty = 1.5
		}
		if seed == 6 {
			r.Sampling.MinNewTokens, r.Sampling.StopTokens = 9, []int32{fakeVocab, math.MaxInt32}
		}
		requests = append(requests, r)
	}
	streams, err := h.Submit(t.Context(), requests)
	require.NoError(t, err)
	for i, s := range streams {
		want, _ := expect(&requests[i], 0)
		got, _, _ := collect(t, s)
		require.Equal(t, want, got, "the fake draws the same tokens whatever is adjusted")
	}
	h.finish(t)
}

func TestImpossibleAdjustmentsAreRefused(t *testing.T) {
	h := start(t, true, testLimits)
	for _, id := range []int32{-1, fakeVocab} {
		r := Request{Prompt: []int32{1}, Sampling: Sampling{MaxNewTokens: 1, TopP: 1, Bias: map[int32]float32{id: 1}}}
		_, err := h.Submit(t.Context(), []Request{r})
		require.ErrorContains(t, err, "logit_bias must has keys in [0, ")
	}
	all := Sampling{MaxNewTokens: 2, MinNewTokens: 1, TopP: 1}
	for id := range int32(fakeVocab) {
		all.StopTokens = append(all.StopTokens, id)
	}
	_, err := h.Submit(t.Context(), []Request{{Prompt: []int32{1}, Sampling: all}})
	require.EqualError(t, err, "min_new_tokens cannot be reached: stop_token_ids name the whole vocabulary.")
	h.finish(t)
}

// Sequences that have much to prepare start one after the other, so that no pass keeps those that run waiting.
func TestAPassPreparesLittle(t *testing.T) {
	h := prepare(t, Config{}, model.Limits{Rows: 64, Lanes: 4, Logits: 64, Adjusts: 20, Pages: 64, Context: 100})
	r := greedy([]int32{1, 2, 3}, 2)
	r.Sampling.MinNewTokens, r.Sampling.StopTokens = 1, make([]int32, mostPrepared/2+1)
	_, err := h.Submit(t.Context(), []Request{r, r, r, greedy([]int32{4}, 2)})
	require.NoError(t, err)
	h.admit(t.Context(), false)
	for _, running := range []int{1, 2, 4} { // who has nothing to prepare starts with the last
		_, err := h.launch(h.next())
		require.NoError(t, err)
		require.Len(t, h.running, running)
		require.NoError(t, h.check())
	}
}

// Thousands may wait, each with a prompt's worth of counts.
func TestCountsWaitForTheStart(t *testing.T) {
	h := prepare(t, Config{}, model.Limits{Rows: 8, Lanes: 1, Logits: 8, Adjusts: 20, Pages: 8, Context: 100})
	r := greedy([]int32{1, 2, 3}, 2)
	r.Sampling.RepetitionPenalty, r.Sampling.MinNewTokens = 1.5, 1
	_, err := h.Submit(t.Context(), []Request{r, r})
	require.NoError(t, err)
	h.admit(t.Context(), false)
	_, err = h.launch(h.next())
	require.NoError(t, err)
	require.Len(t, h.running[0].counts, 3)
	require.NotEmpty(t, h.running[0].forbidden)
	require.Nil(t, h.waiting[0].counts)
	require.Nil(t, h.waiting[0].forbidden)
}
