package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lorikeet/model"
)

func TestStatsCountStepsAndTokens(t *testing.T) {
	h := start(t, true, testLimits)
	streams, err := h.Submit(t.Context(), []Request{{
		Prompt: []int32{1, 2, 3}, Sampling: Sampling{MaxNewTokens: 5, TopP: 1, IgnoreEOS: true}, Logprobs: Logprobs{Start: -1},
	}})
	require.NoError(t, err)
	collect(t, streams[0])
	stats := h.Stats()
	require.EqualValues(t, 5, stats.NewTokens)
	require.EqualValues(t, 4, stats.DecodeSteps, "the first token comes from the prompt's step")
	h.finish(t)
}

// TestStatsTellWhatIsToCome takes one turn after the other: what of the prompts is still to compute becomes less by what each step takes.
func TestStatsTellWhatIsToCome(t *testing.T) {
	h := prepare(t, Config{NoPrefixCache: true}, model.Limits{Rows: 8, Lanes: 2, Logits: 8, Pages: 8, Context: 100})
	_, err := h.Submit(t.Context(), []Request{greedy(stems[0][:20], 1), greedy(stems[1][:9], 1), greedy(stems[2][:3], 1)})
	require.NoError(t, err)
	h.admit(t.Context(), false)
	for _, want := range []struct{ running, waiting, pending int }{{0, 3, 32}, {1, 2, 24}, {1, 2, 16}, {1, 1, 8}, {0, 0, 0}} {
		h.publish()
		stats := h.Stats()
		require.Equal(t, want.pending, stats.PendingTokens)
		require.Equal(t, want.running, stats.Running)
		require.Equal(t, want.waiting, stats.Waiting)
		require.Equal(t, []int{2, 8}, []int{stats.MaxRunning, stats.StepTokens})
		require.NoError(t, h.check())
		if want.pending > 0 {
			s, err := h.launch(h.next())
			require.NoError(t, err)
			require.NoError(t, h.deliver(s))
		}
	}
}

// TestStatsCountTheRetracted lets sequences outgrow the pool: such as gave their pages back and wait are counted until they run again.
func TestStatsCountTheRetracted(t *testing.T) {
	h := prepare(t, Config{NoPrefixCache: true}, cramped)
	_, err := h.Submit(t.Context(), []Request{greedy(stems[0][:20], 40), greedy(stems[1][:20], 40), greedy(stems[2][:20], 40)})
	require.NoError(t, err)
	most := 0
	for h.admit(t.Context(), false); !h.idle(); {
		s, err := h.launch(h.next())
		require.NoError(t, err)
		require.NoError(t, h.deliver(s))
		h.publish()
		most = max(most, h.Stats().Retracted)
		require.NoError(t, h.check())
	}
	require.Positive(t, most)
	require.Zero(t, h.Stats().Retracted)
}

// TestWaitingTimeIsToldOnce queues a request behind another.
func TestWaitingTimeIsToldOnce(t *testing.T) {
	h := prepare(t, Config{}, model.Limits{Rows: 8, Lanes: 1, Logits: 8, Pages: 8, Context: 100})
	streams, err := h.Submit(t.Context(), []Request{greedy([]int32{1}, 2), greedy([]int32{2}, 2)})
	require.NoError(t, err)
	const behind = 20 * time.Millisecond
	time.Sleep(behind)
	h.run()
	for _, s := range streams {
		var told []time.Duration
		for ended := false; !ended; {
			u, err := s.Next(t.Context())
			require.NoError(t, err)
			if u.Waited != 0 {
				told = append(told, u.Waited)
			}
			ended = u.Finish != nil
		}
		require.Len(t, told, 1)
		require.GreaterOrEqual(t, told[0], behind)
	}
	h.finish(t)
}
