package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"lorikeet/lora"
	"lorikeet/model"
)

// runner runs one work step after step, two steps in flight as the server does. Sequences that decode grow by a token each;
// chunks are run again and again.
type runner struct {
	b         *bench
	batches   [2]model.Batch
	pages     []int32
	launched  int
	launching []float64 // seconds of each launch on the host
	last      *model.Step
	outputs   []model.Output
	sampling  model.Sampling
}

func newRunner(b *bench, w work, slots []int) (*runner, error) {
	r := &runner{b: b, sampling: model.Sampling{TopP: 1}}
	grown := warmSteps + b.o.steps
	need := 0
	for _, p := range w.runs {
		need += model.PagesFor(p.start + p.rows + grown)
	}
	if need > b.model.Pages().Free() {
		return nil, errNoRoom
	}
	r.pages = b.model.Pages().Take(nil, need)
	free := r.pages
	random := rand.New(rand.NewPCG(1, 0))
	for lane, p := range w.runs {
		run := model.Run{Lane: lane, Slot: model.Base, Start: p.start, Rows: p.rows, Sample: &r.sampling}
		if p.adapter >= 0 {
			run.Slot = slots[p.adapter]
		}
		if p.rows == 1 {
			run.Start = max(0, p.start-grown/2) // so that the steps see so many tokens on average
		}
		for range p.rows {
			run.Token = append(run.Token, int32(random.IntN(b.model.Shape().Vocab)))
		}
		n := model.PagesFor(p.start + p.rows + grown)
		run.Pages, free = free[:n], free[n:]
		r.batches[0].Runs = append(r.batches[0].Runs, run)
		run.Pages = nil // entered once
		r.batches[1].Runs = append(r.batches[1].Runs, run)
	}
	for i := range r.batches {
		for _, rank := range w.ranks {
			r.batches[i].Rank = max(r.batches[i].Rank, rank)
		}
		if len(w.ranks) > 0 {
			r.batches[i].Targets = lora.Targets{true, true, true, true, true, true, true}
		}
	}
	return r, nil
}

// close gives the pages back.
func (r *runner) close() { r.b.model.Pages().Give(r.pages) }

// steps runs n steps and leaves none in flight.
func (r *runner) steps(n int) error {
	for range n {
		batch := &r.batches[r.launched%2]
		begin := time.Now()
		step, err := r.b.model.Launch(batch)
		r.launching = append(r.launching, time.Since(begin).Seconds())
		if err != nil {
			return err
		}
		r.advance(batch)
		if err := r.collect(); err != nil {
			return err
		}
		r.last = step
		r.launched++
	}
	return r.collect()
}

// advance makes a launched batch the one after the next: each batch is every second step.
func (r *runner) advance(batch *model.Batch) {
	next := &r.batches[(r.launched+1)%2]
	for i := range batch.Runs {
		if batch.Runs[i].Rows == 1 {
			next.Runs[i].Start = batch.Runs[i].Start + 1
			next.Runs[i].Token = nil // the one sampled last
		}
	}
}

func (r *runner) collect() error {
	if r.last == nil {
		return nil
	}
	var err error
	r.outputs, err = r.b.model.Collect(r.last, r.outputs[:0])
	r.last = nil
	return err
}

// check looks at the last step's tokens: a step that did not compute answers
// something that is no log probability.
func (r *runner) check() error {
	vocab := r.b.model.Shape().Vocab
	for _, o := range r.outputs {
		if math.IsNaN(float64(o.Logprob)) || o.Logprob > 0 || o.Logprob == 0 && vocab > 1 || int(o.Token) >= vocab {
			return fmt.Errorf("a step answered token %d with log probability %v", o.Token, o.Logprob)
		}
	}
	return nil
}
