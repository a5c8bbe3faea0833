package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"lorikeet/model"
)

// deliver waits for a step and hands its tokens to their streams.
func (e *Engine) deliver(s *step) error {
	if s == nil {
		return nil
	}
	var err error
	if e.outputs, err = e.model.Collect(s.handle, e.outputs[:0]); err != nil {
		return fmt.Errorf("engine: step of %d runs: %w", len(s.batch.Runs), err)
	}
	outputs := e.outputs
	for i, q := range s.sequences {
		run := &s.batch.Runs[i]
		n := len(run.Score)
		if run.Sample != nil {
			n++
		}
		e.deliverRun(q, run, outputs[:n])
		outputs = outputs[n:]
	}
	e.releaseFinished()
	return nil
}

// deliverRun hands one run's outputs to its sequence. A sequence that finished
// while the step was in flight wants nothing more.
func (e *Engine) deliverRun(q *sequence, run *model.Run, outputs []model.Output) {
	q.inFlight--
	q.computed = run.Start + run.Rows
	if q.finished {
		return
	}
	if len(run.Score) > 0 {
		q.scoreFrom = run.Start + run.ScoreFrom + len(run.Score)
		for _, o := range outputs[:len(run.Score)] {
			q.scores = append(q.scores, token(o))
		}
	}
	if q.computed < q.known {
		return
	}
	if q.scores != nil {
		q.stream.pushPrompt(q.scores)
		q.scores, q.scoreFrom = nil, noScores
	}
	if run.Sample == nil { // a request for no tokens at all
		q.finish(Finish{Reason: FinishLength})
		return
	}
	e.deliverToken(q, outputs[len(outputs)-1])
	if run.Token != nil {
		e.share(q, false)
	}
}

// deliverToken hands a sampled token to its sequence.
func (e *Engine) deliverToken(q *sequence, o model.Output) {
	if math.IsNaN(float64(o.Logprob)) {
		q.broken = true
		message := "the model's logits are not numbers"
		if q.adapter != nil {
			message += " under the adapter " + q.adapter.Adapter().Name
		}
		q.finish(Finish{Reason: FinishAbort, Message: message, Status: StatusFailed})
		return
	}
	q.produced++
	e.newTokens.Add(1)
	q.tokens = append(q.tokens, o.Token)
	if q.counts != nil {
		q.counts[o.Token]++
	}
	q.stream.push(token(o))
	switch {
	case q.stops(o.Token, e.config.EndTokens):
		q.finish(Finish{Reason: FinishStop, MatchedToken: o.Token})
	case q.produced == q.request.Sampling.MaxNewTokens:
		q.finish(Finish{Reason: FinishLength})
	}
}

func token(o model.Output) Token {
	return Token{ID: o.Token, Logprob: o.Logprob, Top: o.Top, IDs: o.IDs}
}

// finish ends the sequence for its reader. What it holds is released when no
// step in flight needs it.
func (q *sequence) finish(f Finish) {
	q.finished = true
	q.stream.finish(f)
}

// refuse ends a sequence that could not be started.
func (q *sequence) refuse(err error) {
	q.finish(Finish{Reason: FinishAbort, Message: err.Error(), Status: StatusUnavailable})
}

// dropCancelled ends the sequences whose reader has gone.
func (e *Engine) dropCancelled() {
	aborted := Finish{Reason: FinishAbort, Message: "Aborted"}
	for _, list := range [...][]*sequence{e.waiting, e.running} {
		for _, q := range list {
			if q.cancel.Load() && !q.finished {
				q.finish(aborted)
			}
		}
	}
	e.releaseFinished()
}

// releaseFinished forgets the finished sequences that no step refers to.
func (e *Engine) releaseFinished() {
	gone := func(q *sequence) bool {
		if !q.finished || q.inFlight > 0 {
			return false
		}
		e.release(q)
		return true
	}
	e.waiting = slices.DeleteFunc(e.waiting, gone)
	e.running = slices.DeleteFunc(e.running, gone)
}

// abandon ends every sequence after the loop has stopped.
func (e *Engine) abandon(cause error) {
	f := Finish{Reason: FinishAbort, Message: "the server is shutting down", Status: StatusUnavailable}
	if !errors.Is(cause, context.Canceled) {
		f = Finish{Reason: FinishAbort, Message: cause.Error(), Status: StatusFailed}
	}
	e.inbox.close(fmt.Errorf("%w: %s", ErrStopped, f.Message))
	arrived, _ := e.inbox.take()
	for _, q := range arrived {
		e.arrive(q)
	}
	for _, list := range [...][]*sequence{e.waiting, e.running} {
		for _, q := range list {
			q.inFlight = 0
			if !q.finished {
				q.finish(f)
			}
		}
	}
	e.releaseFinished()
	e.pages.Give(e.prefixes.clear(nil))
}
