package engine_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
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
// adapters, in both loops. The greedy tokens must be those of transformers and
// PEFT up to the first one whose lead there is smaller than rounding.
func TestDemoAnswersLikePEFT(t *testing.T) {
	const rounding = 0.15 // of a logit, from keys and values kept in bf16
	text, err := os.ReadFile(filepath.Join(demoFolder, "expected.json"))
	require.NoError(t, err)
	var file struct {
		Cases []expectation `json:"cases"`
	}
	require.NoError(t, json.Unmarshal(text, &file))
	for _, overlap := range []bool{false, true} {
		e := demoEngine(t, overlap)
		var requests []engine.Request
		var want [][]int32
		for _, c := range file.Cases {
			for name, answer := range c.Outputs {
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
			got := answer(t, s)
			require.GreaterOrEqual(t, len(got), len(want[i]), "prompt %v under %q", requests[i].Prompt, requests[i].Adapter)
			require.Equal(t, want[i], got[:len(want[i])], "prompt %v under %q", requests[i].Prompt, requests[i].Adapter)
			compared += len(want[i])
		}
		t.Logf("overlap %v: %d answers, %d tokens compared", overlap, len(streams), compared)
	}
}

func answer(t *testing.T, s *engine.Stream) (ids []int32) {
	for {
		u, err := s.Next(t.Context())
		require.NoError(t, err)
		for _, token := range u.Tokens {
			ids = append(ids, token.ID)
		}
		if u.Finish != nil {
			require.NotEqual(t, engine.FinishAbort, u.Finish.Reason, u.Finish.Message)
			return ids
		}
	}
}

// demoEngine serves the demo with its three adapters over two slots.
func demoEngine(t *testing.T, overlap bool) *engine.Engine {
	device := computetest.Device(t)
	c, err := checkpoint.Open(demoFolder)
	require.NoError(t, err)
	shape, err := model.ShapeOf(c.Config(), 0)
	require.NoError(t, err)
	residency, err := lora.NewResidency(device, shape.Sites(), 2)
	require.NoError(t, err)
	m, err := model.Open(t.Context(), device, c.Config(), c, model.Options{
		Rows: 64, Lanes: 8, MemoryFraction: 0.5, Kernels: computetest.Kernels(),
		Adapters: model.Adapters{Table: residency.Table(), SitesPerSlot: residency.SitesPerSlot(), MaxRank: 16},
	})
	require.NoError(t, err)
	limits := lora.Limits{MaxRank: 16, Targets: lora.Targets{true, true, true, true, true, true, true}}
	require.NoError(t, residency.Attach(m.AdapterMemory(), limits))
	registry := lora.NewRegistry(func(name, path string) (*lora.Adapter, error) {
		return lora.Read(name, path, nil, shape.Sites(), limits)
	}, 2, 0)
	config := engine.Config{Overlap: overlap, EndTokens: c.Config().EOS, Vocab: shape.Vocab, MaxWaiting: 1000}
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
