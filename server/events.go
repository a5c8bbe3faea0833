package server

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
)

// events writes server-sent events. Its methods may be called from several goroutines.
type events struct {
	mu     sync.Mutex
	w      http.ResponseWriter
	flush  func() error
	buffer bytes.Buffer
}

func newEvents(w http.ResponseWriter) *events {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	return &events{w: w, flush: http.NewResponseController(w).Flush}
}

// send writes one event.
func (e *events) send(v any) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buffer.Reset()
	e.buffer.WriteString("data: ")
	if err := encoder(&e.buffer).Encode(v); err != nil { // ends in a newline of its own
		return err
	}
	e.buffer.WriteByte('\n')
	if _, err := e.w.Write(e.buffer.Bytes()); err != nil {
		return err
	}
	return e.flush()
}

// done ends the stream. A client that has gone needs no end.
func (e *events) done() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.w.Write([]byte("data: [DONE]\n\n")); err == nil {
		_ = e.flush()
	}
}

// fail tells the client of an error and ends the stream.
func (e *events) fail(err error) {
	status, shape := failureOf(err)
	message, kind := err.Error(), "invalid_request_error"
	if status >= http.StatusInternalServerError {
		kind = "server_error"
	}
	if shape == internalShape {
		message = "Internal Server Error"
	}
	body := map[string]any{
		"message": message, "type": kind, "code": status, "retryable": status == http.StatusServiceUnavailable,
	}
	if e.send(map[string]any{"error": body}) == nil {
		e.done()
	}
}

// end ends a stream that is whole or, with an error, is not.
func (e *events) end(ctx context.Context, err error) {
	if err == nil {
		e.done()
		return
	}
	note(ctx, "error", err.Error())
	if !errors.Is(err, context.Canceled) { // the client is still there
		e.fail(err)
	}
}

// streamAnswers sends an event for each update of each sequence.
func (s *Server) streamAnswers(ctx context.Context, w http.ResponseWriter, r *http.Request, run *running) {
	e := newEvents(w)
	err := run.follow(ctx, func(i int) error {
		if s.config.StreamsNews {
			return e.send(run.answers[i].news())
		}
		return e.send(run.answers[i].response())
	})
	e.end(r.Context(), err)
}
