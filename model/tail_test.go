package model

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
	"lorikeet/lora"
	"lorikeet/shaders"
)

// tailModels run on every kind of kernels.
var tailModels = map[shaders.Style]tinyModel{shaders.Groups: tinyModels[0], shaders.Lanes: tinyModels[0], shaders.Matrices: halves}

// TestTails runs steps of so many rows that a tail ends the last layer: of no
// logit row, of few and of many, under adapters, with one of the head, and under
// none; and one that adjusts its logits.
func TestTails(t *testing.T) {
	inStyles(t, tailModels, mostWhole+40, 4, func(t *testing.T, f *fixture, r *rand.Rand, limit float64) {
		var all []*testSequence
		sequence := func(lane, adapter, prompt, scored int) *testSequence {
			s := f.sequence(t, r, lane, adapter, prompt)
			s.unscored = prompt - scored
			all = append(all, s)
			return s
		}
		step := func(pieces ...piece) {
			rows := 0
			for _, p := range pieces {
				rows += p.rows
			}
			require.Greater(t, rows, mostWhole)
			f.step(t, pieces...)
		}
		const many = mostWhole + 9
		long, a, b := sequence(0, 1, 2*many, 3), sequence(1, 3, 9, 9), sequence(2, -1, 11, 11)
		step(piece{long, many}) // no row wants logits
		step(piece{long, many}, piece{a, 9}, piece{b, 11})
		f.step(t, piece{long, 1}, piece{a, 1}, piece{b, 1})
		step(piece{sequence(3, 2, many, 30), many}, piece{a, 1}, piece{b, 1}) // a tail of 32 rows that has as many
		alone := sequence(0, -1, many, 1)
		step(piece{alone, many})
		step(piece{sequence(1, -1, many, 50), many}, piece{alone, 1}, piece{b, 1})
		f.step(t, piece{alone, 1}, piece{b, 1})
		for _, s := range all {
			t.Logf("largest difference of a log probability: %.2g (limit %.2g)", f.verify(t, s, limit), limit)
		}

		adjusted := f.sequence(t, r, 3, -1, many).run(0, many)
		adjusted.Score = nil
		adjusted.Adjust = []Adjustment{{Token: 7, Factor: 1, Add: 1000}}
		handle, err := f.model.Launch(&Batch{Runs: []Run{adjusted}})
		require.NoError(t, err)
		out, err := f.model.Collect(handle, nil)
		require.NoError(t, err)
		require.EqualValues(t, 7, out[0].Token)

		_, err = f.model.Launch(&Batch{Runs: []Run{adjusted}, Targets: lora.Targets{lora.LMHead: true}})
		require.ErrorContains(t, err, `the program "tail 1 lora head adjusted", which there is not`, "only adapted rows come first")
		f.step(t, piece{alone, 1}, piece{b, 1}) // which the failure has left alone
		f.verify(t, alone, limit)
		f.verify(t, b, limit)
	})
}

// TestManyLogitRows runs tails of all sizes, up to where there is room for fewer
// rows than for logits, which what layers leave has to have room for.
func TestManyLogitRows(t *testing.T) {
	const rows, prompt = mostWhole + 41, mostWhole + 33
	inStyles(t, tailModels, rows, 200, func(t *testing.T, f *fixture, r *rand.Rand, limit float64) {
		require.Greater(t, f.model.limits.Logits, rows)
		require.Equal(t, rows, slices.Max(f.model.buckets[tail]))
		for i, scored := range []int{prompt - 1, 150, 64, 33} {
			s := f.sequence(t, r, i, []int{3, 1, 1, -1}[i], prompt)
			s.unscored = prompt - scored
			other := f.sequence(t, r, 100+i, -1, 5)
			other.unscored = 5 // its prompt is not done
			f.step(t, piece{s, prompt}, piece{other, 4})
			f.step(t, piece{s, 1})
			t.Logf("%d scored: largest difference of a log probability: %.2g (limit %.2g)", scored, f.verify(t, s, limit), limit)
			f.pages.Give(s.pages)
		}
		_, err := f.model.Launch(&Batch{Runs: []Run{{Rows: rows, Token: make([]int32, rows), Score: make([]int32, rows), Sample: &Sampling{}}}})
		require.ErrorContains(t, err, "a step of 233 rows with logits of 234; a tail has room for 233")
		var plan strings.Builder
		require.NoError(t, f.model.Plan(&plan, rows, true))
		require.Regexp(t, `(?s)gather_rows.*lm_head.*programs: mixed 233 lora, tail 1 lora lora head\n`, plan.String())
	})
}

// TestProfileOfTails times the stages of a body and of its tail.
func TestProfileOfTails(t *testing.T) {
	const rows = mostWhole + 1
	device := computetest.Device(t)
	c, _ := tinyModels[0].write(t, rand.New(rand.NewPCG(1, 2)))
	profiler := compute.NewProfiler(device)
	m, err := Open(t.Context(), device, c.Config(), c, Options{Rows: rows, Lanes: 2, MemoryFraction: 0.5, Profiler: profiler})
	require.NoError(t, err)
	defer m.Close()
	profiler.Reset() // the warm-up
	run := Run{Token: make([]int32, rows), Rows: rows, Slot: Base, Pages: m.Pages().Take(nil, PagesFor(rows)), Sample: &Sampling{TopP: 1}}
	step, err := m.Launch(&Batch{Runs: []Run{run}})
	require.NoError(t, err)
	_, err = m.Collect(step, nil)
	require.NoError(t, err)
	counts := map[string]int{}
	for _, row := range profiler.Summary() {
		counts[row.Label] += row.Count
	}
	require.Equal(t, m.shape.Layers, counts["attend"], "%v", counts)
	require.Equal(t, m.shape.Layers, counts["gate_up"], "%v", counts)
	require.Equal(t, 1, counts["gather"], "%v", counts)
	require.Equal(t, 1, counts["sample"], "%v", counts)
}
