package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"lorikeet/server/engine"
)

// generate answers POST and PUT /generate.
func (s *Server) generate(w http.ResponseWriter, r *http.Request) {
	received := time.Now()
	o, err := readObject(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	g, err := parseGenerate(o)
	if err != nil {
		s.failGenerate(w, r, g, err)
		return
	}
	// Whichever way this returns, what it submitted is aborted if it still runs.
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	run, err := s.begin(ctx, g, received)
	if err != nil {
		s.failGenerate(w, r, g, err)
		return
	}
	defer s.flights.land(run.ids)
	defer run.note(r.Context())
	if g.stream {
		s.streamAnswers(ctx, w, r, run)
		return
	}
	if err := run.follow(ctx, nil); err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, run.response())
}

// begin submits what a request asks for. Who began a run lands its flights.
func (s *Server) begin(ctx context.Context, g *generation, received time.Time) (*running, error) {
	g.note(ctx)
	if err := s.flights.depart(g.ids); err != nil { // before a long text becomes tokens: it may be aborted meanwhile
		return nil, err
	}
	var run *running
	defer func() { // in a panic, too
		if run == nil || run.streams == nil {
			s.flights.land(g.ids)
		}
	}()
	run, requests, err := s.prepare(ctx, g, received)
	if err != nil {
		return nil, err
	}
	if run.streams, err = s.engine.Submit(ctx, requests); err != nil {
		if errors.Is(err, engine.ErrBusy) {
			err = errQueueFull
		}
		return nil, err
	}
	s.flights.board(run.ids, run.streams)
	return run, nil
}

// failGenerate answers a request that could not start. SGLang tells the client of a stream about a bad value inside
// the stream; everything else keeps its status.
func (s *Server) failGenerate(w http.ResponseWriter, r *http.Request, g *generation, err error) {
	if _, shape := failureOf(err); g.stream && shape == valueShape {
		note(r.Context(), "error", err.Error())
		newEvents(w).fail(err)
		return
	}
	s.fail(w, r, err)
}

// running is the sequences of one request while they run.
type running struct {
	ids     []string
	answers []*answer
	streams []Stream
	array   bool
	metrics *metrics
}

// follow reads every stream to its end. After each update of sequence i it calls changed(i), one call at a time for
// each i. The first error ends all.
func (run *running) follow(ctx context.Context, changed func(i int) error) error {
	group, together := errgroup.WithContext(ctx)
	for i := range run.streams {
		group.Go(guarded(func() error { return run.followOne(ctx, together, i, changed) }))
	}
	err := group.Wait()
	run.metrics.ended(run.answers) // before the client can know
	return err
}

// followOne reads stream i until it or together ends, which is when the request or another of its streams fails.
func (run *running) followOne(request, together context.Context, i int, changed func(int) error) error {
	a, stream := run.answers[i], run.streams[i]
	for a.finish == nil {
		u, err := stream.Next(together)
		if err != nil {
			return err
		}
		// The end of the request aborts its streams, and the news of that may arrive first.
		if u.Finish != nil && u.Finish.Reason == engine.FinishAbort && request.Err() != nil {
			return context.Cause(request)
		}
		if len(u.Tokens) == 0 && u.Finish == nil {
			continue
		}
		had := len(a.ids)
		err = a.add(u)
		run.metrics.news(a, &u, had)
		if err != nil {
			return err
		}
		if a.finish != nil && u.Finish == nil {
			stream.Cancel() // a stop string ended what the engine still runs
		}
		if changed == nil {
			continue
		}
		if err := changed(i); err != nil {
			return err
		}
	}
	return nil
}

// response is the answer to a request that did not ask for a stream.
func (run *running) response() any {
	if !run.array {
		return run.answers[0].response()
	}
	all := make([]*response, len(run.answers))
	for i, a := range run.answers {
		all[i] = a.response()
	}
	return all
}

// mostNamed is how many adapters of a request its log line names.
const mostNamed = 8

// note adds what the request is called, and the adapters that it names, to its log line.
func (g *generation) note(ctx context.Context) {
	note(ctx, "rid", g.ids[0], "sequences", len(g.ids))
	var names []string
	for i := range g.prompts {
		name := deref(g.prompts[i].adapter)
		if name == "" || slices.Contains(names, name) {
			continue
		}
		if len(names) == mostNamed {
			names = append(names, "...")
			break
		}
		names = append(names, name)
	}
	if len(names) > 0 {
		note(ctx, "adapter", strings.Join(names, ","))
	}
}

// note adds what the request did to its log line.
func (run *running) note(ctx context.Context) {
	prompt, completion := 0, 0
	for _, a := range run.answers {
		prompt += len(a.prompt)
		completion += len(a.ids)
	}
	note(ctx, "prompt_tokens", prompt, "completion_tokens", completion)
}

// guarded turns a panic of f into an error: on a goroutine of its own it would end the process.
func guarded(f func() error) func() error {
	return func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("server: panic: %v\n%s", p, debug.Stack())
			}
		}()
		return f()
	}
}
