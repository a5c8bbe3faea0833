package model

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
	"lorikeet/lora"
	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

// fixture is a model on the test device with four adapters.
type fixture struct {
	model     *Llama
	oracle    *reference
	adapters  []*lora.Adapter
	residency *lora.Residency
	pages     *Pages
	vocab     int
}

func newFixture(t testing.TB, m tinyModel, r *rand.Rand) *fixture {
	return newFixtureOf(t, m, r, shaders.New(computetest.Device(t)), 48, 4)
}

// newFixtureOf runs a model with given kernels and up to so many rows and lanes
// at once.
func newFixtureOf(t testing.TB, m tinyModel, r *rand.Rand, kernels *shaders.Kernels, rows, lanes int) *fixture {
	device := computetest.Device(t)
	c, tensors := m.write(t, r)
	shape, err := ShapeOf(c.Config(), 0)
	require.NoError(t, err)
	f := &fixture{oracle: newReference(c.Config(), tensors), vocab: m.vocab}
	f.adapters = []*lora.Adapter{
		m.adapter(r, shape, 3, false, lora.Q, lora.V, lora.Down),
		m.adapter(r, shape, 16, false, lora.Q, lora.K, lora.V, lora.O, lora.Gate, lora.Up, lora.Down),
		m.adapter(r, shape, 5, false, lora.K, lora.EmbedTokens, lora.LMHead),
		m.adapter(r, shape, 16, true, lora.Q, lora.K, lora.V, lora.O, lora.Gate, lora.Up, lora.Down, lora.LMHead),
	}
	base, largest := shape.Sites(), lora.Limits{MaxRank: 16, Targets: lora.Targets{true, true, true, true, true, true, true, true, true}}
	f.residency, err = lora.NewResidency(device, base, 4)
	require.NoError(t, err)
	t.Cleanup(f.residency.Close)
	f.model, err = open(t.Context(), device, kernels, c.Config(), c, Options{
		Rows: rows, Lanes: lanes, MemoryFraction: 0.5,
		Adapters: Adapters{
			Table: f.residency.Table(), SitesPerSlot: f.residency.SitesPerSlot(), MaxRank: largest.Products(), Targets: largest.Targets,
			Slots: 4, Bytes: base.DeviceBytes(largest),
		},
	})
	require.NoError(t, err)
	t.Cleanup(f.model.Close)
	require.NoError(t, f.residency.Attach(f.model.AdapterMemory(), largest))
	f.pages = f.model.Pages()
	return f
}

// testSequence is one sequence of a test and what the model answered for it.
type testSequence struct {
	lane, slot int
	adapter    *lora.Adapter
	tokens     []int32 // the prompt, then the sampled tokens
	prompt     int
	pages      []int32
	tabled     int
	done       int      // rows that have run
	unscored   int      // the first rows, whose next tokens nobody asks about
	outputs    []Output // one for each other row that has run
}

// sequence makes a random prompt in a lane, under an adapter or, with -1, none.
func (f *fixture) sequence(t testing.TB, r *rand.Rand, lane, adapter, prompt int) *testSequence {
	s := &testSequence{lane: lane, slot: Base, prompt: prompt}
	if adapter >= 0 {
		s.adapter = f.adapters[adapter]
		slot, err := f.residency.PlaceAndWait(s.adapter, 0)
		require.NoError(t, err)
		s.slot = slot
	}
	for range prompt {
		s.tokens = append(s.tokens, int32(r.IntN(f.vocab)))
	}
	s.pages = f.pages.Take(nil, PagesFor(prompt+16))
	return s
}

// run covers the rows [start, start+rows), scores every prompt token it can but
// those that nobody asks about, and samples greedily once the prompt is complete.
func (s *testSequence) run(start, rows int) Run {
	run := Run{Lane: s.lane, Slot: s.slot, Start: start, Rows: rows, Pages: s.pages[s.tabled:], FirstPage: s.tabled}
	s.tabled = len(s.pages)
	if start < s.prompt {
		run.Token = s.tokens[start : start+rows]
		run.ScoreFrom = min(rows, max(0, s.unscored-start))
		run.Score = s.tokens[start+run.ScoreFrom+1 : min(start+rows+1, s.prompt)]
	}
	if start+rows >= s.prompt {
		run.Sample = &Sampling{TopP: 1}
	}
	return run
}

// piece is a sequence's part in a step.
type piece struct {
	s    *testSequence
	rows int
}

// step runs the next rows of some sequences in one batch.
func (f *fixture) step(t testing.TB, pieces ...piece) {
	slices.SortStableFunc(pieces, func(a, b piece) int { return cmp.Compare(uint(a.s.slot), uint(b.s.slot)) })
	batch := &Batch{}
	for _, p := range pieces {
		if p.s.adapter != nil {
			batch.Rank = max(batch.Rank, p.s.adapter.Products)
			batch.Targets = batch.Targets.Union(p.s.adapter.Targets)
		}
		batch.Runs = append(batch.Runs, p.s.run(p.s.done, p.rows))
	}
	handle, err := f.model.Launch(batch)
	require.NoError(t, err)
	out, err := f.model.Collect(handle, nil)
	require.NoError(t, err)
	for i, p := range pieces {
		p.s.done += p.rows
		n := len(batch.Runs[i].Score)
		if batch.Runs[i].Sample != nil {
			n++
			p.s.tokens = append(p.s.tokens, out[n-1].Token)
		}
		p.s.outputs = append(p.s.outputs, out[:n]...)
		out = out[n:]
	}
	require.Empty(t, out)
}

// verify compares everything a sequence was answered with the oracle and
// returns the largest difference of a log probability.
func (f *fixture) verify(t testing.TB, s *testSequence, limit float64) float64 {
	worst := 0.0
	require.Len(t, s.outputs, s.done-s.unscored)
	for i, logits := range f.oracle.logits(s.tokens[:s.done], s.adapter) {
		if i < s.unscored {
			continue
		}
		want, got := logSoftmax(logits), s.outputs[i-s.unscored]
		difference := math.Abs(want[got.Token] - float64(got.Logprob))
		require.LessOrEqual(t, difference, limit, "token %d", i)
		require.Equal(t, s.tokens[i+1], got.Token, "token %d", i)
		worst = max(worst, difference)
		if i >= s.prompt-1 {
			require.LessOrEqual(t, slices.Max(want)-want[got.Token], 2*limit, "token %d is not the most likely one", i)
		}
	}
	return worst
}

// TestWholeModel runs sequences under each adapter and under none: each alone
// with its prompt in chunks of 20, 16 and 1, then four tokens of decode; and
// together, decoding beside another's prompt chunk. Every prompt log
// probability and every greedy token must be the oracle's.
func TestWholeModel(t *testing.T) {
	for _, m := range tinyModels {
		t.Run(m.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			f := newFixture(t, m, r)
			worst := 0.0
			for _, adapter := range []int{1, 0, 2, 3, -1} {
				s := f.sequence(t, r, 0, adapter, 37)
				for _, rows := range []int{20, 16, 1, 1, 1, 1, 1} {
					f.step(t, piece{s, rows})
				}
				worst = max(worst, f.verify(t, s, m.limit))
				f.pages.Give(s.pages)
			}
			a, b, c := f.sequence(t, r, 0, 1, 9), f.sequence(t, r, 1, 0, 17), f.sequence(t, r, 2, -1, 30)
			f.step(t, piece{c, 10}, piece{a, 9})
			f.step(t, piece{c, 20}, piece{a, 1}, piece{b, 17})
			f.step(t, piece{c, 1}, piece{b, 1}, piece{a, 1})
			for _, s := range []*testSequence{a, b, c} {
				worst = max(worst, f.verify(t, s, m.limit))
				f.pages.Give(s.pages)
			}
			a, b, c = f.sequence(t, r, 0, 2, 9), f.sequence(t, r, 1, 3, 17), f.sequence(t, r, 2, -1, 30)
			d := f.sequence(t, r, 3, 1, 5)
			f.step(t, piece{a, 5}, piece{b, 17}, piece{d, 5}, piece{c, 20})
			f.step(t, piece{a, 4}, piece{c, 10}, piece{b, 1})
			f.step(t, piece{c, 1}, piece{d, 1}, piece{b, 1}, piece{a, 1})
			for _, s := range []*testSequence{a, b, c, d} {
				worst = max(worst, f.verify(t, s, m.limit))
			}
			t.Logf("largest difference of a log probability: %.2g (limit %.2g)", worst, m.limit)
		})
	}
}

// halves has heads whose halves are whole panels' rows.
var halves = tinyModel{
	name: "f16 heads of 64", hidden: 80, inner: 40, layers: 2, vocab: 99, heads: 2, kvHeads: 1, headDim: 64, dtype: checkpoint.F16, limit: 2e-2,
}

// has says whether the device can run kernels of a style.
func has(device *compute.Device, style shaders.Style) bool {
	return slices.ContainsFunc(device.Info().Variants(), func(v compute.Variant) bool {
		return slices.Contains(shaders.Styles(device.Info(), v.Name), style)
	})
}

// inStyles runs a test for each of the models whose style the device can run, on
// a fixture of so many rows and lanes.
func inStyles(t *testing.T, models map[shaders.Style]tinyModel, rows, lanes int, test func(t *testing.T, f *fixture, r *rand.Rand, limit float64)) {
	device := computetest.Device(t)
	for style, m := range models {
		if !has(device, style) {
			continue
		}
		t.Run(style.String(), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			test(t, newFixtureOf(t, m, r, shaders.NewStyle(device, style), rows, lanes), r, m.limit)
		})
	}
}

// TestShortRuns has decode programs run prompts, of which a step has up to 16
// rows, beside others' and beside rows that decode.
func TestShortRuns(t *testing.T) {
	models := map[shaders.Style]tinyModel{shaders.Groups: tinyModels[0], shaders.Matrices: halves}
	inStyles(t, models, 64, 64, func(t *testing.T, f *fixture, r *rand.Rand, limit float64) {
		var all []*testSequence
		for lane, adapter := range []int{0, 1, 3, -1} {
			all = append(all, f.sequence(t, r, lane, adapter, 20+r.IntN(40)))
		}
		for range 12 {
			var step []piece
			for _, s := range all {
				step = append(step, piece{s, min(1+r.IntN(shortRows), max(1, s.prompt-s.done))})
			}
			batch := &Batch{}
			for _, p := range step {
				batch.Runs = append(batch.Runs, Run{Start: p.s.done, Rows: p.rows})
			}
			require.True(t, f.model.rowByRow(batch))
			f.step(t, step...)
		}
		for _, s := range all {
			t.Logf("largest difference of a log probability: %.2g (limit %.2g)", f.verify(t, s, limit), limit)
		}
	})
}

// TestManyRows runs the kernels for GPUs with more rows than flow, or than
// projections end by themselves, then the same sequences with few: bodies of
// every kind must agree about what one leaves to the other and to the head.
func TestManyRows(t *testing.T) {
	device := computetest.Device(t)
	for _, c := range []struct {
		style shaders.Style
		model tinyModel
		rows  int
	}{{shaders.Groups, tinyModels[0], 66}, {shaders.Matrices, halves, 212}} {
		if !has(device, c.style) {
			continue
		}
		t.Run(fmt.Sprintf("%v, %d rows", c.style, c.rows), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			kernels := shaders.NewStyle(device, c.style)
			f := newFixtureOf(t, c.model, r, kernels, c.rows+14, 4)
			require.Equal(t, c.style == shaders.Matrices, kernels.Fuses(c.rows, c.model.headDim, f.model.shape.Type, true))
			long := func(lane, adapter, prompt int) *testSequence {
				s := f.sequence(t, r, lane, adapter, prompt)
				s.unscored = max(0, prompt-36) // a step has logits for few
				return s
			}
			s, base := long(0, 1, c.rows+4), long(3, -1, c.rows)
			for _, n := range []int{c.rows, 4, 1, 1} {
				f.step(t, piece{s, n})
			}
			a, b := long(1, 3, c.rows-26), f.sequence(t, r, 2, -1, 30)
			f.step(t, piece{a, c.rows - 26}, piece{b, 26})
			f.step(t, piece{a, 1}, piece{b, 4}, piece{s, 1})
			f.step(t, piece{base, c.rows})
			f.step(t, piece{a, 1}, piece{b, 1}, piece{s, 1}, piece{base, 1})
			some := min(100, c.rows) // by matrices more than flow, and with adapters fewer than end their outputs by themselves
			other, none := long(0, 0, some), long(2, -1, some)
			f.step(t, piece{other, some}, piece{a, 1})
			f.step(t, piece{none, some}, piece{base, 1})
			third, fourth := long(1, 2, 40), long(3, -1, 40) // as few as flow, but for those of adapters
			f.step(t, piece{third, 40}, piece{other, 1})
			f.step(t, piece{fourth, 40}, piece{none, 1})
			for _, s := range []*testSequence{s, a, b, base, other, none, third, fourth} {
				worst := f.verify(t, s, c.model.limit)
				t.Logf("largest difference of a log probability: %.2g (limit %.2g)", worst, c.model.limit)
			}
		})
	}
}

// TestLaunchRefuses asks for steps that are larger than the model was opened for.
func TestLaunchRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	f := newFixture(t, tinyModels[0], r)
	limits := f.model.Limits()
	for name, c := range map[string]struct {
		run  Run
		want string
	}{
		"none":        {Run{}, "a step of 0 rows; it runs 1 to 48"},
		"rows":        {Run{Rows: limits.Rows + 1, Token: make([]int32, limits.Rows+1)}, "a step of 49 rows; it runs 1 to 48"},
		"logits":      {Run{Rows: 1, Token: []int32{0}, Score: make([]int32, limits.Logits+1)}, "logits of 69 rows; it has room for 68"},
		"adjustments": {Run{Rows: 1, Token: []int32{0}, Sample: &Sampling{}, Adjust: make([]Adjustment, limits.Adjusts+1)}, "adjustments; it has room for"},
	} {
		_, err := f.model.Launch(&Batch{Runs: []Run{c.run}})
		require.ErrorContains(t, err, c.want, name)
	}
}

// TestStepAllocatesNothing counts what a decode step costs the Go heap.
func TestStepAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	f := newFixture(t, tinyModels[0], r)
	a, b := f.sequence(t, r, 0, 1, 9), f.sequence(t, r, 1, -1, 12)
	f.step(t, piece{a, 9}, piece{b, 12})
	batch := &Batch{Rank: 16, Runs: []Run{a.run(a.done, 1), b.run(b.done, 1)}}
	outputs := make([]Output, 0, 2)
	require.Zero(t, testing.AllocsPerRun(20, func() {
		step, err := f.model.Launch(batch)
		require.NoError(t, err)
		outputs, err = f.model.Collect(step, outputs[:0])
		require.NoError(t, err)
	}))
	require.Len(t, outputs, 2)
}

// TestTooLargeAModelFailsBeforeItLoads allows less memory than the weights take:
// Open must say so before it reads any of them.
func TestTooLargeAModelFailsBeforeItLoads(t *testing.T) {
	c, _ := tinyModels[0].write(t, rand.New(rand.NewPCG(1, 2)))
	_, err := Open(t.Context(), computetest.Device(t), c.Config(), c, Options{
		Rows: 16, Lanes: 2, MemoryFraction: 1e-6,
		Progress: func(arrived, total int64) { t.Errorf("%d of %d bytes of weights were loaded", arrived, total) },
	})
	require.ErrorIs(t, err, compute.ErrOutOfMemory)
	require.ErrorContains(t, err, "--mem-fraction-static")
}

// TestBatchBeyondTheModel: a model that was opened without adapters of the head
// says so, instead of leaving them out.
func TestBatchBeyondTheModel(t *testing.T) {
	c, _ := tinyModels[0].write(t, rand.New(rand.NewPCG(1, 2)))
	m, err := Open(t.Context(), computetest.Device(t), c.Config(), c, Options{Rows: 16, Lanes: 2, MemoryFraction: 0.5})
	require.NoError(t, err)
	defer m.Close()
	run := Run{Token: []int32{1}, Rows: 1, Slot: Base, Pages: []int32{0}, Sample: &Sampling{TopP: 1}}
	_, err = m.Launch(&Batch{Runs: []Run{run}, Targets: lora.Targets{lora.LMHead: true}})
	require.ErrorContains(t, err, "an adapter of lm_head")
	step, err := m.Launch(&Batch{Runs: []Run{run}})
	require.NoError(t, err)
	_, err = m.Collect(step, nil)
	require.NoError(t, err)
}
