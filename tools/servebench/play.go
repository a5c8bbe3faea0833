package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// player plays a trace against a server.
type player struct {
	client    *client
	trace     *trace // the one that plays
	directory *directory
	solos     *solos // nil: answers are not compared
	streams   int    // requests at a time; 0: no limit

	begun    atomic.Int64 // answers whose first token has arrived
	outcomes []outcome    // of all traces played
	swapped  []swapOutcome
	start    time.Time // of the first trace
	took     time.Duration
}

// ending is what became of a request.
type ending int

const (
	answered ending = iota // the whole answer arrived
	left                   // the client left, as planned
	refused                // the server asked to come again later: 429 or 503
	lost                   // anything else
)

// outcome is one request as its client saw it.
type outcome struct {
	ending  ending
	err     error // of lost
	wrong   bool  // differs from the solo answer
	sent    time.Time
	answer  *answer
	waited  int64 // answers that began between the sending and this one's first token
	adapter string
}

// play sends every request of a trace and waits for all of them, and for the swaps.
func (p *player) play(ctx context.Context, t *trace) {
	begin := time.Now()
	if p.trace = t; p.start.IsZero() {
		p.start = begin
	}
	outcomes := make([]outcome, len(t.requests))
	swaps := make(chan swap, len(t.swaps))
	var beside, requests sync.WaitGroup
	beside.Go(func() {
		for s := range swaps {
			p.swapped = append(p.swapped, p.swap(ctx, s))
		}
	})
	p.sendAll(ctx, begin, outcomes, swaps, &requests)
	close(swaps)
	requests.Wait()
	p.outcomes, p.took = append(p.outcomes, outcomes...), time.Since(p.start)
	beside.Wait()
}

// sendAll sends the requests when they are due, and the swaps after so many requests.
func (p *player) sendAll(ctx context.Context, begin time.Time, outcomes []outcome, swaps chan<- swap, group *sync.WaitGroup) {
	streams := make(chan struct{}, max(1, p.streams))
	due := p.trace.swaps
	for i := range p.trace.requests {
		sleepUntil(ctx, begin.Add(p.trace.requests[i].at))
		if p.streams > 0 {
			streams <- struct{}{}
		}
		group.Go(func() {
			outcomes[i] = p.request(ctx, &p.trace.requests[i])
			if p.streams > 0 {
				<-streams
			}
		})
		for len(due) > 0 && due[0].after == i+1 {
			swaps <- due[0]
			due = due[1:]
		}
	}
}

func sleepUntil(ctx context.Context, at time.Time) {
	wait := time.Until(at)
	if wait <= 0 {
		return
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}

// request sends one request and follows its answer.
func (p *player) request(ctx context.Context, r *request) outcome {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := question{prompt: p.trace.prompts[r.prompt], tokens: r.output}
	if r.adapter != base {
		q.adapter = p.directory.names[r.adapter]
	}
	o := outcome{adapter: q.adapter}
	leave := func(tokens int) {
		if r.leave != stays && tokens >= r.leave {
			cancel()
		}
	}
	before, hearing := p.begun.Load(), false
	heard := func(tokens int) {
		if !hearing {
			hearing, o.waited = true, p.begun.Add(1)-1-before
		}
		leave(tokens)
	}
	o.sent = time.Now()
	a, err := p.client.generate(ctx, q, func() { leave(0) }, heard)
	o.answer = a
	o.ending, o.err = endingOf(ctx, r, err)
	o.wrong = o.ending == answered && len(a.ids) != r.output || p.differs(r, &o)
	return o
}

// endingOf says what an error of a request means. A client that meant to leave and did has left, even if the rest of
// its answer was on the way already.
func endingOf(ctx context.Context, r *request, err error) (ending, error) {
	var said *refusal
	switch {
	case r.leave != stays && ctx.Err() != nil:
		return left, nil
	case err == nil:
		return answered, nil
	case errors.As(err, &said) && said.busy():
		return refused, nil
	}
	return lost, err
}

// differs compares what arrived with the solo answer.
func (p *player) differs(r *request, o *outcome) bool {
	return p.solos != nil && !p.solos.right(o.answer.ids, r.prompt, p.folders(r.adapter, o.sent))
}

// folders are those that a name could stand for when a request that has ended began.
func (p *player) folders(adapter int, sent time.Time) []int {
	if adapter == base {
		return []int{base}
	}
	return p.directory.between(adapter, sent, time.Now())
}

// swapOutcome is what became of a swap.
type swapOutcome struct {
	err    error         // neither loaded nor taken
	taken  bool          // refused because a request had the name loaded again first
	wrong  bool          // what the new adapter answered first differs from its solo answer
	loaded time.Duration // until the load was answered
	first  time.Duration // from asking for the load to the first token of the adapter
}

// swap loads another adapter under a name and asks it something.
func (p *player) swap(ctx context.Context, s swap) (o swapOutcome) {
	name, folder := p.directory.names[s.adapter], p.directory.onFrom(s.adapter, s.by)
	load := p.client.replace
	if !s.upsert {
		if err := p.client.unload(ctx, name); err != nil {
			o.err = fmt.Errorf("unload %s: %w", name, err)
			return o
		}
		load = p.client.load
	}
	end := p.directory.begin(s.adapter, folder)
	begin := time.Now()
	err := load(ctx, name, p.directory.folders[folder])
	end(err == nil)
	if o.taken = err != nil && takenAlready(err); o.taken {
		return o
	}
	if err != nil {
		o.err = fmt.Errorf("load %s: %w", name, err)
		return o
	}
	o.loaded = time.Since(begin)
	r := request{adapter: s.adapter, prompt: s.after % len(p.trace.prompts), output: 1, leave: stays}
	probe := p.request(ctx, &r)
	if o.err, o.wrong = probe.err, probe.wrong; probe.ending == answered {
		o.first = probe.answer.arrived[0].Sub(begin)
	}
	return o
}
