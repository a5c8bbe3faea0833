package engine

import (
	"testing"

	"github.com/stretchr/testify/require"
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
