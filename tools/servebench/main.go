// Command servebench loads a running server with a seeded trace and reports what its clients see: what was lost or
// wrong, how long tokens take, how many there are.
//
//	servebench -adapters 200 -folders testdata/demo/adapters/* -popularity zipf:1.5 -arrivals closed:32 -requests 2000 -leave 0.05 -swap-every 20
//	servebench -adapters 1000 -folders build/adapters/* -popularity zipf:1.5 -arrivals poisson:8 -requests 240 -input 256 -output 256
//	servebench -soak 10m ...                   plays trace after trace and watches the server's memory
//	servebench -table A.json B.json ...        prints saved reports, one a line
//	servebench -make 16 -shape MODEL -out DIR  writes random adapters
//	servebench -model -shape MODEL -out DIR    writes a checkpoint of random weights
//	servebench -await 60s                      waits until the server is ready
//
// The names of the adapters are registered first and stand for the folders in turn. With -check, which needs -pool or
// -prompts, every answer must equal what the server answers to the same prompt alone, beforehand.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o, err := parseOptions(os.Args[1:])
	if err == nil {
		err = run(ctx, o, os.Stdout)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "servebench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options, w io.Writer) error {
	switch {
	case o.table:
		reports, err := readReports(o.rest)
		if err != nil {
			return err
		}
		return printSummary(w, reports)
	case o.await > 0:
		return awaitReady(ctx, newClient(o.url), o.await, w)
	case o.model:
		return makeModel(o.shape, o.out, o.plan.seed)
	case o.make > 0:
		return makeAdapters(o.shape, o.out, o.make, o.rank, o.plan.seed)
	}
	p, r, err := bench(ctx, o)
	if err != nil {
		return err
	}
	if o.json != "" {
		if err := r.write(o.json); err != nil {
			return err
		}
	}
	if o.plots != "" {
		if err := p.writePlots(o.plots, r.Memory); err != nil {
			return err
		}
	}
	return printTable(w, r)
}

// restTimeout is how long a server may take to come to rest after the last answer.
const restTimeout = time.Minute

// bench registers the adapters, asks for the solo answers, and plays the trace, or one trace after another for the
// time of a soak.
func bench(ctx context.Context, o *options) (*player, *report, error) {
	p := &player{client: newClient(o.url), directory: newDirectory(o.plan.adapters, o.folders), streams: o.plan.arrivals.streams}
	if !o.registered {
		if err := p.directory.register(ctx, p.client); err != nil {
			return nil, nil, err
		}
	}
	plan := o.plan
	plan.folders = len(o.folders)
	t := plan.draw()
	compared := 0.0
	if o.check {
		var err error
		if p.solos, err = askSolos(ctx, p.client, t.prompts, o.folders, plan.output.most, o.rounding); err != nil {
			return nil, nil, err
		}
		compared = p.solos.share(plan.output.most)
	}
	memory, err := p.playFor(ctx, o, plan, t)
	if err != nil {
		return nil, nil, err
	}
	r := p.report(o.name)
	r.Compared, r.Memory = compared, memory
	rest, cancel := context.WithTimeout(ctx, restTimeout)
	defer cancel()
	r.Idle, err = awaitIdle(rest, p.client)
	return p, r, err
}

// playFor plays a trace and, until the soak's time is over, others with the seeds that follow. In a soak it watches
// the memory of the server.
func (p *player) playFor(ctx context.Context, o *options, next plan, t *trace) (*memory, error) {
	stop := func() (*memory, error) { return nil, nil }
	if o.soak > 0 {
		stop = watchMemory(ctx, p.client, time.Second)
	}
	p.play(ctx, t)
	if next.pool > 0 {
		next.prompts = t.prompts // whose solo answers are known
	}
	for p.took < o.soak && ctx.Err() == nil {
		next.seed++
		p.play(ctx, next.draw())
	}
	return stop()
}
