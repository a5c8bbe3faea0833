package parity

import (
	"cmp"
	"io/fs"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
	"lorikeet/lora"
	"lorikeet/model"
	"lorikeet/model/checkpoint"
)

const (
	maxRank   = 16
	lanes     = 32
	stepRows  = 64
	slotCount = 16
)

var adapterLimits = lora.Limits{MaxRank: maxRank, Targets: lora.Targets{true, true, true, true, true, true, true, true, true}}

// served is a model on the device, with room for every adapter of the table.
type served struct {
	llama     *model.Llama
	weights   *checkpoint.Checkpoint
	shape     model.Shape
	residency *lora.Residency
	pages     *model.Pages
	clock     uint64 // placements so far
}

// serve opens a checkpoint's folder.
func serve(t *testing.T, d *compute.Device, folder fs.FS, name string) *served {
	s := &served{}
	var err error
	s.weights, err = checkpoint.OpenFS(folder, name)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.weights.Close()) })
	s.shape, err = model.ShapeOf(s.weights.Config(), 0)
	require.NoError(t, err)
	base := s.shape.Sites()
	s.residency, err = lora.NewResidency(d, base, slotCount)
	require.NoError(t, err)
	t.Cleanup(s.residency.Close)
	s.llama, err = model.Open(t.Context(), d, s.weights.Config(), s.weights, model.Options{
		Rows: stepRows, Lanes: lanes, MaxTokens: lanes * 64, MemoryFraction: 0.5, Kernels: computetest.Kernels(),
		Adapters: model.Adapters{
			Table: s.residency.Table(), SitesPerSlot: s.residency.SitesPerSlot(),
			MaxRank: adapterLimits.Products(), Targets: adapterLimits.Targets,
			Slots: slotCount, Bytes: base.DeviceBytes(adapterLimits),
		},
	})
	require.NoError(t, err)
	t.Cleanup(s.llama.Close)
	require.NoError(t, s.residency.Attach(s.llama.AdapterMemory(), adapterLimits))
	s.pages = s.llama.Pages()
	return s
}

// sequence is one prompt on the device: continued by tokens that are given, or greedily. Either way the likeliest token is
// asked for after every row from the last of the prompt on.
type sequence struct {
	adapter *lora.Adapter // nil: the base
	tokens  []int32       // given; the rows of all but the last run, each scoring the next one
	prompt  int           // how many of them go in chunks; the others go one by one
	greedy  int           // tokens to sample after the prompt; then there are no others
	want    model.Logprobs

	slot, lane int
	pages      []int32
	tabled     int
	next       int
	scored     []model.Output // one per given token after the first
	sampled    []model.Output // one per token after the prompt
}

// reset makes a sequence ready to run in a lane.
func (s *served) reset(t *testing.T, q *sequence, lane int) {
	q.lane, q.slot, q.tabled, q.next, q.scored, q.sampled = lane, model.Base, 0, 0, nil, nil
	q.pages = s.pages.Take(nil, model.PagesFor(len(q.tokens)+q.greedy))
	if q.adapter != nil {
		s.clock++
		slot, err := s.residency.PlaceAndWait(q.adapter, s.clock)
		require.NoError(t, err)
		q.slot = slot
	}
}

// rows is how many rows the sequence runs next, at most chunk of its prompt; 0 when it is done.
func (q *sequence) rows(chunk int) int {
	switch {
	case q.next < q.prompt:
		return min(chunk, q.prompt-q.next)
	case q.greedy > 0 && len(q.sampled) < q.greedy, q.greedy == 0 && q.next < len(q.tokens)-1:
		return 1
	}
	return 0
}

// run is the sequence's part of a step.
func (q *sequence) run(rows int) model.Run {
	r := model.Run{Lane: q.lane, Slot: q.slot, Start: q.next, Rows: rows, Pages: q.pages[q.tabled:], FirstPage: q.tabled, Logprobs: q.want}
	q.tabled = len(q.pages)
	if q.next < len(q.tokens) {
		r.Token = q.tokens[q.next : q.next+rows]
	}
	q.next += rows
	if q.greedy == 0 {
		r.Score = q.tokens[q.next-rows+1 : q.next+1]
	}
	if q.next >= q.prompt {
		r.Sample = &model.Sampling{TopP: 1}
	}
	return r
}

// take takes the answers to a run from the front of out and returns the rest.
func (q *sequence) take(r *model.Run, out []model.Output) []model.Output {
	n := len(r.Score)
	q.scored = append(q.scored, out[:n]...)
	if r.Sample != nil {
		q.sampled = append(q.sampled, out[n])
		n++
	}
	return out[n:]
}

// play runs sequences to their ends, each in a lane of its own, as many as fit side by side in every step. Adapters take
// their places in the batch in the order in which they first appear.
func (s *served) play(t *testing.T, chunk int, sequences ...*sequence) {
	order := map[int]int{model.Base: len(sequences)} // the base model's rows come last
	for lane, q := range sequences {
		s.reset(t, q, lane)
		if _, ok := order[q.slot]; !ok {
			order[q.slot] = lane
		}
	}
	for s.step(t, chunk, sequences, order) {
	}
	for _, q := range sequences {
		s.pages.Give(q.pages)
	}
}

// step runs what is next of every sequence, and returns false when nothing is.
func (s *served) step(t *testing.T, chunk int, sequences []*sequence, order map[int]int) bool {
	limit := s.llama.Limits()
	batch, rows := &model.Batch{}, min(limit.Rows, limit.Logits)
	var running []*sequence
	for _, q := range sequences {
		n := min(q.rows(chunk), rows-1)
		if n > 0 {
			rows -= n + 1 // a scored row each, and a sampled one
			running = append(running, q)
			batch.Runs = append(batch.Runs, q.run(n))
			if q.adapter != nil {
				batch.Rank = max(batch.Rank, q.adapter.Products)
				batch.Targets = batch.Targets.Union(q.adapter.Targets)
			}
		}
	}
	if len(running) == 0 {
		return false
	}
	byOrder := func(a, b int) int { return cmp.Compare(order[a], order[b]) }
	slices.SortStableFunc(running, func(a, b *sequence) int { return byOrder(a.slot, b.slot) })
	slices.SortStableFunc(batch.Runs, func(a, b model.Run) int { return byOrder(a.Slot, b.Slot) })
	handle, err := s.llama.Launch(batch)
	require.NoError(t, err)
	out, err := s.llama.Collect(handle, nil)
	require.NoError(t, err)
	for i, q := range running {
		out = q.take(&batch.Runs[i], out)
	}
	require.Empty(t, out)
	return true
}
