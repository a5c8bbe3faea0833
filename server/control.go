package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"lorikeet/server/engine"
)

// healthTimeout is how long /health_generate waits for its token.
const healthTimeout = 20 * time.Second

// health answers GET /health: whether the engine takes requests.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(s.healthStatus(r, s.engine.Ready()))
}

// healthGenerate answers GET /health_generate: whether the engine produces a token.
func (s *Server) healthGenerate(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	w.WriteHeader(s.healthStatus(r, s.probe(ctx)))
}

func (s *Server) healthStatus(r *http.Request, err error) int {
	if s.draining.Load() {
		err = errDraining
	}
	if err != nil {
		note(r.Context(), "error", err.Error())
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// probePoll is how often a probe looks whether others get tokens.
const probePoll = 50 * time.Millisecond

// probe generates one token, or sees that others get some: behind a long queue its own may be late. An engine that is too busy to queue it
// is alive.
func (s *Server) probe(ctx context.Context) error {
	if err := s.engine.Ready(); err != nil {
		return err
	}
	before := s.engine.Stats().NewTokens
	streams, err := s.engine.Submit(ctx, []engine.Request{{
		ID: newID(), Prompt: []int32{0},
		Sampling: engine.Sampling{MaxNewTokens: 1, TopP: 1, IgnoreEOS: true}, Logprobs: engine.Logprobs{Start: -1},
	}})
	if errors.Is(err, engine.ErrBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- ending(ctx, streams[0]) }() // until the token is there, or ctx has ended
	for {
		select {
		case err := <-ended:
			return err
		case <-time.After(probePoll):
			if s.engine.Stats().NewTokens > before {
				return nil
			}
		}
	}
}

// ending waits until an answer has ended, and says what went wrong.
func ending(ctx context.Context, answer Stream) error {
	for {
		u, err := answer.Next(ctx)
		switch {
		case err != nil:
			return err
		case u.Finish != nil && u.Finish.Reason == engine.FinishAbort:
			return errors.New(u.Finish.Message)
		case u.Finish != nil:
			return nil
		}
	}
}

// flushPoll is how often a flush that may wait looks again.
const flushPoll = 20 * time.Millisecond

const flushPath = "/flush_cache"

// flushCache answers /flush_cache. The timeout parameter, in seconds, lets it wait for running requests to end.
func (s *Server) flushCache(w http.ResponseWriter, r *http.Request) {
	var patience time.Duration
	if text := r.URL.Query().Get("timeout"); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || !(seconds >= 0 && seconds < 1e9) {
			s.fail(w, r, invalid("timeout must be a number of seconds, got %q.", text))
			return
		}
		patience = time.Duration(seconds * float64(time.Second))
	}
	err := s.flush(r.Context(), patience)
	switch {
	case errors.Is(err, engine.ErrBusy):
		stats := s.engine.Stats()
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, "Cache not flushed: %d requests are running and %d are waiting.\n", stats.Running, stats.Waiting)
	case err != nil:
		s.fail(w, r, err)
	default:
		fmt.Fprint(w, "Cache flushed.\nPlease check backend logs for more details. (When there are running or waiting requests, the operation will not be performed.)\n")
	}
}

func (s *Server) flush(ctx context.Context, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		err := s.engine.Flush()
		if !errors.Is(err, engine.ErrBusy) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(flushPoll):
		}
	}
}

// abortRequest answers POST /abort_request. The id is a prefix; one that matches nothing is no error.
func (s *Server) abortRequest(w http.ResponseWriter, r *http.Request) {
	o, err := readObject(r)
	var id string
	var all bool
	if err == nil {
		id = keep[string](&err)(field(o, "rid", readString))
		all = keep[bool](&err)(field(o, "abort_all", readBool))
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	note(r.Context(), "rid", id)
	switch {
	case all:
		s.flights.abort("")
	case id != "":
		s.flights.abort(id)
	}
	w.WriteHeader(http.StatusOK)
}
