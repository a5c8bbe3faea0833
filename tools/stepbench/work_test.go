package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWorks(t *testing.T) {
	o := options{batches: []int{1, 64}, adapters: []int{0, 1, 8}, ranks: []int{16, 64}, contexts: []int{512}, drawn: []int{1000}, zipf: 64, mixed: 64, chunk: 1024, prefill: 8}
	rows := map[string]int{}
	for _, w := range o.works() {
		require.NotContains(t, rows, w.name)
		rows[w.name] = w.rows()
		used := map[int]bool{-1: true}
		last := 0
		for _, p := range w.runs {
			require.Less(t, p.adapter, len(w.ranks), w.name)
			if p.adapter >= 0 {
				require.GreaterOrEqual(t, p.adapter, last, "%s: adapters in order", w.name)
				last = p.adapter
			}
			used[p.adapter] = true
		}
		require.Len(t, used, 1+len(w.ranks), "%s: every adapter has a row", w.name)
	}
	require.Equal(t, map[string]int{
		"step/batch=1/context=512/adapters=0": 1, "step/batch=1/context=512/adapters=1": 1, "step/batch=1/context=512/adapters=1/rank=64": 1,
		"step/batch=64/context=512/adapters=0": 64, "step/batch=64/context=512/adapters=1": 64, "step/batch=64/context=512/adapters=1/rank=64": 64,
		"step/batch=64/context=512/adapters=8": 64, "step/batch=64/context=512/adapters=8/rank=64": 64,
		"step/batch=64/context=512/adapters=8/zipf": 64,
		"step/batch=1/context=512/drawn=1000":       1, "step/batch=64/context=512/drawn=1000": 64,
		"chunk/tokens=1024": 1024, "mixed/batch=64/chunk=1024": 1088,
		"mixed/batch=64/chunk=1024/adapters=1": 1088, "mixed/batch=64/chunk=1024/adapters=8": 1088,
		"prefill/prompts=8/tokens=1024": 8192, "prefill/prompts=8/tokens=1024/adapters=8": 8192,
	}, rows)
}

// TestDrawn draws as servebench's sequences do: 128 of 8 adapters have them all, of 1 000 about 33.
func TestDrawn(t *testing.T) {
	require.Len(t, drawn(128, 512, 8, 16).ranks, 8)
	require.InDelta(t, 33, len(drawn(128, 512, 1000, 16).ranks), 6)
	require.Equal(t, drawn(128, 512, 1000, 16), drawn(128, 512, 1000, 16))
	require.Equal(t, []int{16}, drawn(4, 512, 1, 16).ranks)
	require.Equal(t, []part{{adapter: 0, start: 511, rows: 1}}, drawn(1, 512, 1, 16).runs)
	require.InDelta(t, 0.125, share(3)/share(0), 1e-12)
}
