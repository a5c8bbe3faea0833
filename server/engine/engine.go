package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"lorikeet/lora"
	"lorikeet/model"
)

// Model is what the engine needs of a model. Steps are collected in the order
// in which they were launched, and at most two are in flight.
type Model interface {
	Limits() model.Limits
	// Pages is the allocator of the pages that keys, values and adapters share.
	// It belongs to the engine's goroutine.
	Pages() *model.Pages
	// Launch starts a step. The batch may not change until it was collected.
	Launch(*model.Batch) (*model.Step, error)
	// Collect waits for a step and appends its outputs: for each run in order,
	// one per scored token, then the sampled token if there is one.
	Collect(*model.Step, []model.Output) ([]model.Output, error)
}

// Slots is what the engine needs of the adapters' place on the device. It
// belongs to the engine's goroutine.
type Slots interface {
	// Place makes an adapter resident and returns its slot; now is the engine's
	// clock. It fails with lora.ErrNoSlot while every slot is pinned, with
	// lora.ErrNoPages while free pages are too few or too scattered, and with
	// lora.ErrArriving while the adapter is being uploaded.
	Place(a *lora.Adapter, now uint64) (slot int, err error)
	Pin(slot int)
	Unpin(slot int)
	Rank(slot int) int
	// Idle is when the least recently used adapter that nothing pins was last
	// placed; false when there is none.
	Idle() (used uint64, ok bool)
	// EvictIdle frees the slot and the pages of that adapter.
	EvictIdle()
	Evicted() uint64 // adapters that have made room so far
	// AwaitUpload blocks until an upload under way has ended; false: there is
	// none.
	AwaitUpload() (ended bool, err error)
	Drop(id uint64)
	Pages() int    // that adapters hold
	Resident() int // adapters that have a slot
	Check() error
}

// Config is how an engine runs.
type Config struct {
	Overlap    bool    // launch the next step before the last is delivered
	EndTokens  []int32 // end-of-sequence ids of the model
	Vocab      int
	MaxWaiting int // requests that may wait; more are refused with ErrBusy
	// NoPrefixCache makes every request compute its whole prompt, whatever was
	// computed before.
	NoPrefixCache bool
}

// Engine runs requests on a model.
type Engine struct {
	config   Config
	model    Model
	limits   model.Limits
	registry *lora.Registry // nil: adapters are disabled
	slots    Slots

	inbox   inbox
	stopped chan struct{} // closed when run has returned
	cause   error         // why run returned; read after stopped
	stats   atomic.Pointer[Stats]
	// Apart from stats, which would be new in every step.
	decodeSteps, newTokens atomic.Uint64

	// The rest belongs to the goroutine that runs run.
	scheduler
	steps   [2]step
	turn    int
	outputs []model.Output
}

// step is a batch on the device and the sequences its runs belong to.
type step struct {
	batch     model.Batch
	adjusts   []model.Adjustment // of its runs
	sequences []*sequence
	handle    *model.Step
}

// New makes an engine. Run must be called for anything to happen.
func New(config Config, m Model, registry *lora.Registry, slots Slots) *Engine {
	limits := m.Limits()
	e := &Engine{
		config: config, model: m, limits: limits, registry: registry, slots: slots,
		inbox: newInbox(), stopped: make(chan struct{}),
		scheduler: newScheduler(limits, m.Pages(), slots, &config),
	}
	e.publish()
	if registry != nil {
		registry.OnFree(func(a *lora.Adapter) { e.control(func() { e.forget(a.ID) }) })
	}
	return e
}

// Run is the step loop. It returns when ctx ends or the model fails; requests
// that have not finished then are aborted.
func (e *Engine) Run(ctx context.Context) error {
	defer close(e.stopped)
	defer context.AfterFunc(ctx, e.inbox.wake)()
	e.cause = e.loop(ctx)
	e.abandon(e.cause)
	return e.cause
}

func (e *Engine) loop(ctx context.Context) error {
	var last *step
	for ctx.Err() == nil {
		e.admit(ctx, last == nil)
		next, err := e.launch(e.next())
		if err != nil {
			return errors.Join(err, e.deliver(last))
		}
		if err := e.unblock(next != nil || last != nil); err != nil {
			return err
		}
		if !e.config.Overlap {
			last, next = next, nil
		}
		if err := e.deliver(last); err != nil {
			return err
		}
		last = next
		e.inbox.settle(len(e.waiting))
		e.publish()
		if invariants {
			if err := e.check(); err != nil {
				panic(err)
			}
		}
	}
	return errors.Join(context.Cause(ctx), e.deliver(last))
}

// admit takes what arrived. It waits for something to arrive only when no work
// is left.
func (e *Engine) admit(ctx context.Context, nothingInFlight bool) {
	if nothingInFlight && e.idle() {
		if err := e.checkIdle(); err != nil {
			slog.Error("engine: books do not balance", "error", err)
		}
		e.inbox.wait(ctx)
	}
	arrived, controls := e.inbox.take()
	for _, q := range arrived {
		e.arrive(q)
	}
	for _, f := range controls {
		f()
	}
	e.dropCancelled()
}

// launch starts the scheduled step, if there is one.
func (e *Engine) launch(s *step) (*step, error) {
	if s == nil {
		return nil, nil
	}
	handle, err := e.model.Launch(&s.batch)
	if err != nil {
		return nil, fmt.Errorf("engine: launch a step of %d runs: %w", len(s.batch.Runs), err)
	}
	s.handle = handle
	if s.decodes() {
		e.decodeSteps.Add(1)
	}
	return s, nil
}

// decodes says whether a run of the step feeds a token that was sampled before.
func (s *step) decodes() bool {
	return slices.ContainsFunc(s.batch.Runs, func(r model.Run) bool { return r.Token == nil })
}

// next schedules a step, or returns nil when there is nothing to run.
func (e *Engine) next() *step {
	s := &e.steps[e.turn]
	if !e.schedule(s) {
		return nil
	}
	e.turn = 1 - e.turn
	return s
}

// Submit queues requests, all or none of them. Cancelling ctx aborts them.
func (e *Engine) Submit(ctx context.Context, requests []Request) ([]*Stream, error) {
	for i := range requests {
		if err := e.validate(&requests[i]); err != nil {
			return nil, err
		}
	}
	if len(requests) > e.config.MaxWaiting {
		return nil, wrong("%d answers were asked for together; at most %d may wait (--max-queued-requests).", len(requests), e.config.MaxWaiting)
	}
	if err := e.inbox.reserve(len(requests), e.config.MaxWaiting); err != nil {
		return nil, err
	}
	submitted := time.Now()
	defer e.inbox.unreserve(len(requests)) // they wait themselves by then, or do not come; a reader may even panic
	refs, err := e.acquire(ctx, requests)
	if err != nil {
		return nil, err
	}
	sequences := make([]*sequence, len(requests))
	for i := range requests {
		sequences[i] = e.newSequence(&requests[i], refs[i], submitted)
	}
	if err := e.inbox.put(sequences); err != nil {
		for _, ref := range refs {
			ref.Release()
		}
		return nil, err
	}
	streams := make([]*Stream, len(sequences))
	for i, s := range sequences {
		context.AfterFunc(ctx, s.stream.Cancel)
		streams[i] = s.stream
	}
	return streams, nil
}

// acquire refers to the requests' adapters, all or none of them; the base
// model's reference is nil. It may take the time in which adapters are read.
func (e *Engine) acquire(ctx context.Context, requests []Request) ([]*lora.Ref, error) {
	names := make([]string, len(requests))
	for i := range requests {
		names[i] = requests[i].Adapter
		if names[i] != "" && e.registry == nil {
			return nil, lora.Disabled(names[i])
		}
	}
	if e.registry == nil {
		return make([]*lora.Ref, len(requests)), nil
	}
	return e.registry.AcquireAll(ctx, names)
}

func (e *Engine) newSequence(r *Request, adapter *lora.Ref, submitted time.Time) *sequence {
	s := &sequence{
		request: r, adapter: adapter, submitted: submitted, tokens: slices.Clip(r.Prompt), known: len(r.Prompt),
		lane: -1, slot: model.Base, scoreFrom: noScores,
	}
	if r.Logprobs.Return && r.Logprobs.Start >= 0 {
		s.scoreFrom = r.Logprobs.Start
	}
	s.sampling = model.Sampling{
		Temperature: r.Sampling.Temperature, TopK: r.Sampling.TopK,
		TopP: r.Sampling.TopP, MinP: r.Sampling.MinP, Seed: r.Sampling.Seed,
	}
	s.stream = newStream(func() {
		s.cancel.Store(true)
		e.inbox.wake()
	})
	return s
}

// control runs f on the engine's goroutine and waits for it. When the engine
// has stopped, f is not run: its device is gone.
func (e *Engine) control(f func()) {
	done := make(chan struct{})
	e.inbox.putControl(func() { f(); close(done) })
	select {
	case <-done:
	case <-e.stopped:
	}
}
