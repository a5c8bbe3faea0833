package engine

import (
	"fmt"
	"math"
	"sync"

	"lorikeet/lora"
	"lorikeet/model"
)

const (
	fakeVocab = 50
	fakeEOS   = 7
)

// history stands for everything that the keys and values of a token depend on:
// the adapter and every token up to this one.
type history uint64

// begin is the history of no tokens under an adapter.
func begin(adapter uint64) history { return history(adapter)*0x9e3779b97f4a7c15 + 1 }

// then is the history with one more token.
func (h history) then(token int32) history {
	h = (h ^ history(token+1)) * 0xbf58476d1ce4e5b9
	return h ^ h>>29
}

// follow is the token that the fake model draws at a position: a function of the
// whole history, so that any mix-up of lanes, pages, slots or tokens shows, and
// of what draws depend on.
func (h history) follow(seed uint64, position int) int32 {
	return int32(h.then(int32(seed)).then(int32(position)) >> 20 % fakeVocab)
}

// cell is what a page holds for one token.
type cell struct {
	history history
	token   int32
}

// fakeMemory is the contents of the pages.
type fakeMemory [][model.PageTokens]cell

// fakeModel runs batches the way a device does: steps read and write the pages
// in the order in which they were launched, the sampled token of a lane feeds
// that lane's next row before anybody has read it, and the page table may be
// written while the step before is still to run. It checks each batch against
// the rules that model.Batch states, and every page that a row reads.
type fakeModel struct {
	limits   model.Limits
	late     bool // steps run when they are collected, not when they are launched
	pool     *model.Pages
	memory   fakeMemory
	slots    *fakeSlots
	mu       sync.Mutex
	last     []int32   // last sampled token by lane
	table    [][]int32 // pages by lane
	inFlight []*fakeStep
	steps    [2]model.Step
	turn     int
	failures []error
	launches int
	started  []uint64           // adapters of the sequences, in the order in which they started
	found    int                // tokens that sequences found in memory when they started
	fail     error              // what the next Collect answers
	broken   bool               // logits are not numbers
	watch    func(*model.Batch) // sees every batch before it runs; nil: nobody does
}

type fakeStep struct {
	handle  *model.Step
	batch   *model.Batch
	outputs []model.Output
}

func newFakeModel(limits model.Limits, slots *fakeSlots) *fakeModel {
	return &fakeModel{
		limits: limits, slots: slots, pool: slots.pages, memory: slots.memory,
		last: make([]int32, limits.Lanes), table: make([][]int32, limits.Lanes),
	}
}

func (f *fakeModel) Limits() model.Limits { return f.limits }

func (f *fakeModel) Pages() *model.Pages { return f.pool }

// fakeTargets are the sites that every adapter of the tests changes.
var fakeTargets = lora.Targets{lora.V: true, lora.LMHead: true}

func (f *fakeModel) Launch(b *model.Batch) (*model.Step, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.launches++
	if len(f.inFlight) == 2 {
		f.wrong("three steps in flight")
	}
	s := &fakeStep{handle: &f.steps[f.turn], batch: b}
	f.turn = 1 - f.turn
	rows, logits, seen := 0, 0, map[int]bool{}
	for i := range b.Runs {
		run := &b.Runs[i]
		if seen[run.Lane] {
			f.wrong("lane %d twice in a batch", run.Lane)
		}
		seen[run.Lane] = true
		if i > 0 && uint(b.Runs[i-1].Slot) > uint(run.Slot) {
			f.wrong("slot %d after %d", run.Slot, b.Runs[i-1].Slot)
		}
		rows += run.Rows
		logits += len(run.Score)
		if run.Sample != nil {
			logits++
		}
		f.checkAdjustments(run)
		f.writePages(run)
	}
	if adapted := len(b.Runs) > 0 && b.Runs[0].Slot != model.Base; adapted != (b.Targets == fakeTargets) || adapted != (b.Rank > 0) {
		f.wrong("rank %d and targets %v of a batch, adapters %v", b.Rank, b.Targets, adapted)
	}
	if rows == 0 || rows > f.limits.Rows || logits > f.limits.Logits {
		f.wrong("a step of %d rows and %d logit rows", rows, logits)
	}
	if f.watch != nil {
		f.watch(b)
	}
	f.inFlight = append(f.inFlight, s)
	if !f.late {
		f.runStep(s)
	}
	return s.handle, nil
}

// checkAdjustments wants tokens of the vocabulary, each once.
func (f *fakeModel) checkAdjustments(run *model.Run) {
	seen := map[uint32]bool{}
	for _, a := range run.Adjust {
		if a.Token >= fakeVocab || seen[a.Token] {
			f.wrong("token %d is adjusted, again: %v", a.Token, seen[a.Token])
		}
		seen[a.Token] = true
	}
}

// writePages enters a run's new pages in the page table.
func (f *fakeModel) writePages(run *model.Run) {
	lane := run.Lane
	if run.FirstPage == 0 && len(run.Pages) > 0 {
		f.started = append(f.started, f.slots.slotID(run.Slot))
		f.found += run.Start
		f.table[lane] = nil
	}
	if run.FirstPage != len(f.table[lane]) {
		f.wrong("pages from %d on, lane %d has %d", run.FirstPage, lane, len(f.table[lane]))
	}
	f.table[lane] = append(f.table[lane], run.Pages...)
	if model.PagesFor(run.Start+run.Rows) > len(f.table[lane]) {
		f.wrong("rows from %d on, lane %d has %d pages", run.Start, lane, len(f.table[lane]))
	}
}

func (f *fakeModel) runStep(s *fakeStep) {
	for i := range s.batch.Runs {
		s.outputs = append(s.outputs, f.run(&s.batch.Runs[i])...)
	}
}

// run reads what a run's rows attend to, writes the rows and answers them.
func (f *fakeModel) run(run *model.Run) (out []model.Output) {
	tokens := run.Token
	if tokens == nil {
		tokens = []int32{f.last[run.Lane]}
	}
	if len(tokens) != run.Rows {
		f.wrong("%d tokens for %d rows", len(tokens), run.Rows)
	}
	h := begin(f.slots.adapter(run.Slot, f))
	for position := range run.Start {
		c := f.cell(run.Lane, position)
		if h = h.then(c.token); c.history != h {
			f.wrong("lane %d of slot %d: position %d holds something else", run.Lane, run.Slot, position)
		}
	}
	for i, token := range tokens {
		h = h.then(token)
		*f.cell(run.Lane, run.Start+i) = cell{h, token}
	}
	for _, target := range run.Score {
		out = append(out, model.Output{Token: target, Logprob: -float32(target)})
	}
	if run.Sample != nil {
		f.last[run.Lane] = h.follow(run.Sample.Seed, run.Start+run.Rows)
		out = append(out, model.Output{Token: f.last[run.Lane], Logprob: -1})
		if f.broken {
			out[len(out)-1].Logprob = float32(math.NaN())
		}
	}
	return out
}

// cell is where a lane keeps a position.
func (f *fakeModel) cell(lane, position int) *cell {
	return &f.memory[f.table[lane][position/model.PageTokens]][position%model.PageTokens]
}

func (f *fakeModel) Collect(s *model.Step, out []model.Output) ([]model.Output, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return out, f.fail
	}
	if len(f.inFlight) == 0 || f.inFlight[0].handle != s {
		f.wrong("steps collected out of order")
		return out, nil
	}
	if f.late {
		f.runStep(f.inFlight[0])
	}
	out = append(out, f.inFlight[0].outputs...)
	f.inFlight = f.inFlight[1:]
	return out, nil
}

func (f *fakeModel) wrong(format string, args ...any) {
	f.failures = append(f.failures, fmt.Errorf(format, args...))
}
