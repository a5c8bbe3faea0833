package engine_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute/computetest"
	"lorikeet/lora"
	"lorikeet/model"
	"lorikeet/model/checkpoint"
	"lorikeet/server/engine"
)

const demoFolder = "../../testdata/demo"

// expectation is what transformers and PEFT answer to a prompt, by adapter.
type expectation struct {
	Prompt    string  `json:"prompt"`
	PromptIDs []int32 `json:"prompt_ids"`
	Outputs   map[string]struct {
		IDs     []int32   `json:"ids"`
		Margins []float64 `json:"margins"`
	} `json:"outputs"`
}

// TestDemoAnswersLikePEFT runs every prompt of the demo's expectations under
// the base and each adapter, all at once through few lanes and fewer slots than
// adapters, in both loops, with and without the prefix cache, twice, so that
// the second time finds what the first has left there. In the small pool
// sequences start that have no room to end, and adapters and prefixes evict each
// other. The greedy tokens must be those of transformers and
// PEFT up to the first one whose lead there is smaller than rounding.
func TestDemoAnswersLikePEFT(t *testing.T) {
	for _, c := range []struct {
		name   string
		config engine.Config
		pages  int // 0: as many as memory allows
		rows   int // of a step
	}{
		{"plain", engine.Config{NoPrefixCache: true}, 0, 64},
		{"many rows, overlapped", engine.Config{Overlap: true, NoPrefixCache: true}, 0, 480},
		{"overlapped, cached", engine.Config{Overlap: true}, 0, 64},
		{"small pool", engine.Config{NoPrefixCache: true}, smallPool, 64},
		{"small pool, overlapped", engine.Config{Overlap: true, NoPrefixCache: true}, smallPool, 64},
		{"small pool, overlapped, cached", engine.Config{Overlap: true}, smallPool, 64},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := demoEngine(t, c.config, c.rows, c.pages*model.PageTokens)
			first := compareWithPEFT(t, e)
			second := compareWithPEFT(t, e)
			stats := e.Stats()
			t.Logf("%d and %d tokens of the prompts were cached; %+v", first, second, stats)
			require.EqualValues(t, first+second, stats.CachedTokens)
			switch {
			case c.config.NoPrefixCache:
				require.Zero(t, stats.CachedTokens)
				require.Equal(t, c.pages > 0, stats.Preemptions > 0)
			case c.pages == 0:
				require.Greater(t, second, first)
			}
		})
	}
}

// smallPool is a pool of pages that holds four of the long prompts, but not
// their answers, and one with its answer beside the largest adapter.
const smallPool = 52

func expectations(t *testing.T) []expectation {
	text, err := os.ReadFile(filepath.Join(demoFolder, "expected.json"))
	require.NoError(t, err)
	var file struct {
		Cases []expectation `json:"cases"`
	}
	require.NoError(t, json.Unmarshal(text, &file))
	return file.Cases
}

// compareWithPEFT runs the expectations' prompts and returns how many of their
// tokens were in memory already.
func compareWithPEFT(t *testing.T, e *engine.Engine) (cached int) {
	const rounding = 0.15 // of a logit, from keys and values kept in bf16
	all := expectations(t)
	// The long prompt comes first, and four times under the base.
	slices.SortFunc(all, func(a, b expectation) int { return len(b.PromptIDs) - len(a.PromptIDs) })
	var requests []engine.Request
	var want [][]int32
	for _, c := range all {
		names := []string{"base", "lora0", "lora1", "lora2"}
		if len(c.PromptIDs) > 100 {
			names = append([]string{"base", "base", "base"}, names...)
		}
		for _, name := range names {
			answer := c.Outputs[name]
			r := engine.Request{Prompt: c.PromptIDs, Sampling: engine.Sampling{MaxNewTokens: len(answer.IDs), TopP: 1}}
			if name != "base" {
				r.Adapter = name
			}
			certain := 0
			for certain < len(answer.IDs) && answer.Margins[certain] > rounding {
				certain++
			}
			requests, want = append(requests, r), append(want, answer.IDs[:certain])
		}
	}
	streams, err := e.Submit(t.Context(), requests)
	require.NoError(t, err)
	compared := 0
	for i, s := range streams {
		got, found := answer(t, s)
		require.GreaterOrEqual(t, len(got), len(want[i]), "prompt %v under %q", requests[i].Prompt, requests[i].Adapter)
		require.Equal(t, want[i], got[:len(want[i])], "prompt %v under %q", requests[i].Prompt, requests[i].Adapter)
		compared += len(want[i])
		cached += found
	}
	t.Logf("%d answers, %d tokens compared", len(streams), compared)
	return cached
}

func answer(t *testing.T, s *engine.Stream) (ids []int32, cached int) {
	for {
		u, err := s.Next(t.Context())
		require.NoError(t, err)
		for _, token := range u.Tokens {
			ids = append(ids, token.ID)
		}
		cached += u.CachedTokens
		if u.Finish != nil {
			require.NotEqual(t, engine.FinishAbort, u.Finish.Reason, u.Finish.Message)
			return ids, cached
		}
	}
}

// demoEngine serves the demo with its three adapters over two slots, by steps of
// so many rows, from a pool of so many tokens; 0 is as many as memory allows.
func demoEngine(t *testing.T, config engine.Config, rows, tokens int) *engine.Engine {
	device := computetest.Device(t)
	c, err := checkpoint.Open(demoFolder)
	require.NoError(t, err)
	shape, err := model.ShapeOf(c.Config(), 0)
	require.NoError(t, err)
	residency, err := lora.NewResidency(device, shape.Sites(), 2)
	require.NoError(t, err)
	m, err := model.Open(t.Context(), device, c.Config(), c, model.Options{
		Rows: rows, Lanes: 8, MaxTokens: tokens, MemoryFraction: 0.5, Kernels: computetest.Kernels(),
		Adapters: model.Adapters{Table: residency.Table(), SitesPerSlot: residency.SitesPerSlot(), MaxRank: 16},
	})
	require.NoError(t, err)
	limits := lora.Limits{MaxRank: 16, Targets: lora.Targets{true, true, true, true, true, true, true}}
	require.NoError(t, residency.Attach(m.AdapterMemory(), limits))
	registry := lora.NewRegistry(func(name, path string) (*lora.Adapter, error) {
		return lora.Read(name, path, nil, shape.Sites(), limits)
	}, 2, 0)
	config.EndTokens, config.Vocab, config.MaxWaiting = c.Config().EOS, shape.Vocab, 1000
	e := engine.New(config, m, registry, residency)
	for _, name := range []string{"lora0", "lora1", "lora2"} {
		require.NoError(t, e.LoadAdapter(t.Context(), name, filepath.Join(demoFolder, "adapters", name), false))
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.ErrorIs(t, <-done, context.Canceled)
		residency.Close()
		m.Close()
		require.NoError(t, c.Close())
	})
	return e
}

// TestAdjustedAnswers asks the demo for answers whose logits are adjusted, beside one whose are not.
func TestAdjustedAnswers(t *testing.T) {
	for _, overlap := range []bool{false, true} {
		e := demoEngine(t, engine.Config{Overlap: overlap}, 64, 0)
		prompt := expectations(t)[0].PromptIDs
		ask := func(s engine.Sampling) *engine.Stream {
			s.TopP = 1
			streams, err := e.Submit(t.Context(), []engine.Request{{ID: "r", Prompt: prompt, Sampling: s, Logprobs: engine.Logprobs{Start: -1}}})
			require.NoError(t, err)
			return streams[0]
		}
		alone, _ := answer(t, ask(engine.Sampling{MaxNewTokens: 40}))
		require.Less(t, len(alone), 40, "it ends by itself")
		end := alone[len(alone)-1]

		streams := []*engine.Stream{
			ask(engine.Sampling{MaxNewTokens: 40}),
			ask(engine.Sampling{MaxNewTokens: 40, MinNewTokens: 30}),
			ask(engine.Sampling{MaxNewTokens: 12, Bias: map[int32]float32{77: 1000}}),
			ask(engine.Sampling{MaxNewTokens: 40, Bias: map[int32]float32{alone[0]: -1000}}),
			ask(engine.Sampling{MaxNewTokens: 40, FrequencyPenalty: 1000, IgnoreEOS: true}),
			ask(engine.Sampling{MaxNewTokens: 40, PresencePenalty: 1000, IgnoreEOS: true}),
			ask(engine.Sampling{MaxNewTokens: 40, RepetitionPenalty: 1e6, IgnoreEOS: true}),
			ask(engine.Sampling{MaxNewTokens: 40, RepetitionPenalty: 1}),
		}
		var got [][]int32
		for _, s := range streams {
			ids, _ := answer(t, s)
			got = append(got, ids)
		}
		require.Equal(t, alone, got[0], "nobody else's adjustments matter")
		require.GreaterOrEqual(t, len(got[1]), 30)
		require.NotContains(t, got[1][:29], end)
		require.Equal(t, alone[:len(alone)-1], got[1][:len(alone)-1], "the same until it may not end")
		require.Equal(t, slices.Repeat([]int32{77}, 12), got[2])
		require.NotEqual(t, alone[0], got[3][0])
		for _, ids := range got[4:6] {
			require.Len(t, slices.Compact(slices.Sorted(slices.Values(ids))), 40, "no token twice")
		}
		require.Equal(t, got[4], got[5], "what never comes again is penalized alike")
		for _, id := range got[6] {
			require.NotContains(t, prompt, id)
		}
		require.Equal(t, alone, got[7])
	}
}
