package engine

import (
	"fmt"
	"hash/fnv"
	"sync"

	"lorikeet/lora"
	"lorikeet/model"
)

const (
	fakeVocab = 50
	fakeEOS   = 7
)

// follow is the fake model's answer: a function of the adapter and of every
// token so far, so that any mix-up of lanes, pages, slots or tokens shows.
func follow(adapter uint64, tokens []int32) int32 {
	h := fnv.New64a()
	fmt.Fprint(h, adapter, tokens)
	return int32(h.Sum64() % fakeVocab)
}

// fakeModel runs batches the way a device does: the sampled token of a lane
// feeds that lane's next row before anybody has read it. It checks each batch
// against the rules that model.Batch states.
type fakeModel struct {
	limits   model.Limits
	pool     *model.Pages
	slots    *fakeSlots
	mu       sync.Mutex
	lanes    [][]int32     // tokens whose keys and values a lane holds
	last     []int32       // last sampled token by lane
	owner    map[int32]int // page -> lane
	table    [][]int32     // pages by lane
	inFlight []*fakeStep
	steps    [2]model.Step
	turn     int
	failures []error
	launches int
	started  []uint64 // adapters of the sequences, in the order of their first rows
	fail     error    // what the next Collect answers
}

type fakeStep struct {
	handle  *model.Step
	outputs []model.Output
}

func newFakeModel(limits model.Limits, slots *fakeSlots) *fakeModel {
	return &fakeModel{
		limits: limits, slots: slots, owner: map[int32]int{},
		lanes: make([][]int32, limits.Lanes), last: make([]int32, limits.Lanes), table: make([][]int32, limits.Lanes),
		pool: slots.pages,
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
	s := &fakeStep{handle: &f.steps[f.turn]}
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
		outputs := f.run(run)
		logits += len(outputs)
		s.outputs = append(s.outputs, outputs...)
	}
	if adapted := len(b.Runs) > 0 && b.Runs[0].Slot != model.Base; adapted != (b.Targets == fakeTargets) || adapted != (b.Rank > 0) {
		f.wrong("rank %d and targets %v of a batch, adapters %v", b.Rank, b.Targets, adapted)
	}
	if rows == 0 || rows > f.limits.Rows || logits > f.limits.Logits {
		f.wrong("a step of %d rows and %d logit rows", rows, logits)
	}
	f.inFlight = append(f.inFlight, s)
	return s.handle, nil
}

// run appends a run's rows to its lane and answers them.
func (f *fakeModel) run(run *model.Run) (out []model.Output) {
	lane := run.Lane
	if run.Start == 0 {
		f.started = append(f.started, f.slots.adapter(run.Slot))
		for _, page := range f.table[lane] {
			delete(f.owner, page)
		}
		f.lanes[lane], f.table[lane] = nil, nil
	}
	if run.FirstPage != len(f.table[lane]) {
		f.wrong("pages from %d on, lane %d has %d", run.FirstPage, lane, len(f.table[lane]))
	}
	for _, page := range run.Pages {
		if other, taken := f.owner[page]; taken && other != lane {
			f.takeOver(page, other)
		}
		f.owner[page] = lane
		f.table[lane] = append(f.table[lane], page)
	}
	if run.Start != len(f.lanes[lane]) || model.PagesFor(run.Start+run.Rows) > len(f.table[lane]) {
		f.wrong("rows from %d on, lane %d holds %d in %d pages", run.Start, lane, len(f.lanes[lane]), len(f.table[lane]))
	}
	tokens := run.Token
	if tokens == nil {
		tokens = []int32{f.last[lane]}
	}
	if len(tokens) != run.Rows {
		f.wrong("%d tokens for %d rows", len(tokens), run.Rows)
	}
	f.lanes[lane] = append(f.lanes[lane], tokens...)
	for _, target := range run.Score {
		out = append(out, model.Output{Token: target, Logprob: -float32(target)})
	}
	if run.Sample != nil {
		f.last[lane] = follow(f.slots.adapter(run.Slot), f.lanes[lane])
		out = append(out, model.Output{Token: f.last[lane], Logprob: -1})
	}
	return out
}

// takeOver forgets a page of a lane whose sequence has ended.
func (f *fakeModel) takeOver(page int32, lane int) {
	f.table[lane], f.lanes[lane] = nil, nil
	for p, owner := range f.owner {
		if owner == lane {
			delete(f.owner, p)
		}
	}
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
	out = append(out, f.inFlight[0].outputs...)
	f.inFlight = f.inFlight[1:]
	return out, nil
}

func (f *fakeModel) wrong(format string, args ...any) {
	f.failures = append(f.failures, fmt.Errorf(format, args...))
}

// fakeAdapterPages is what an adapter takes of the pool.
const fakeAdapterPages = 2

// fakeSlots places adapters in a pool of pages without a device.
type fakeSlots struct {
	mu    sync.Mutex
	pages *model.Pages
	slots []fakeSlot
}

type fakeSlot struct {
	id    uint64 // 0: empty
	first int32  // page
	pins  int
	used  uint64
}

func newFakeSlots(n int, limits model.Limits) *fakeSlots {
	return &fakeSlots{slots: make([]fakeSlot, n), pages: model.NewPages(limits.Pages, limits.Pages)}
}

func (f *fakeSlots) adapter(slot int) uint64 {
	if slot == model.Base {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.slots[slot].id
}

func (f *fakeSlots) Place(a *lora.Adapter, now uint64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := -1
	for i := range f.slots {
		if f.slots[i].id == a.ID {
			f.slots[i].used = now
			return i, nil
		}
		if f.slots[i].id == 0 {
			at = i
		}
	}
	if at < 0 {
		at = f.victim()
	}
	if at < 0 {
		return 0, lora.ErrNoSlot
	}
	f.empty(at)
	first, ok := f.pages.TakeRun(fakeAdapterPages)
	if !ok {
		return 0, lora.ErrNoPages
	}
	f.slots[at] = fakeSlot{id: a.ID, first: first, used: now}
	return at, nil
}

func (f *fakeSlots) Pin(slot int)       { f.slots[slot].pins++ }
func (f *fakeSlots) Unpin(slot int)     { f.slots[slot].pins-- }
func (f *fakeSlots) Rank(slot int) int  { return 8 }
func (f *fakeSlots) AwaitUpload() error { return nil }

func (f *fakeSlots) Idle() (uint64, bool) {
	at := f.victim()
	if at < 0 {
		return 0, false
	}
	return f.slots[at].used, true
}

func (f *fakeSlots) EvictIdle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.empty(f.victim())
}

// victim is the least recently placed slot that is not pinned, -1 without one.
func (f *fakeSlots) victim() int {
	at := -1
	for i, s := range f.slots {
		if s.id != 0 && s.pins == 0 && (at < 0 || s.used < f.slots[at].used) {
			at = i
		}
	}
	return at
}

func (f *fakeSlots) empty(slot int) {
	if f.slots[slot].id != 0 {
		f.pages.GiveRun(f.slots[slot].first, fakeAdapterPages)
		f.slots[slot] = fakeSlot{}
	}
}

func (f *fakeSlots) Drop(id uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.slots {
		if f.slots[i].id == id {
			f.empty(i)
		}
	}
}

func (f *fakeSlots) Pages() int {
	n := 0
	for _, s := range f.slots {
		if s.id != 0 {
			n += fakeAdapterPages
		}
	}
	return n
}

func (f *fakeSlots) Check() error {
	for i, s := range f.slots {
		if s.pins != 0 {
			return fmt.Errorf("slot %d has %d pins", i, s.pins)
		}
	}
	return nil
}
