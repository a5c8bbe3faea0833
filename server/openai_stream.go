package server

import (
	"context"
	"net/http"
)

// progress is what a stream's client has of an answer.
type progress struct {
	begun   bool
	bytes   int      // of the visible text
	tokens  int      // whose logprobs it has
	offsets *offsets // of those tokens, where they have a text_offset
}

// text is what is new of an answer's text.
func (p *progress) text(a *answer) string {
	fresh := a.visibleFrom(p.bytes)
	p.bytes += len(fresh)
	return fresh
}

// streamOpen sends what is new of each sequence as events.
func (s *Server) streamOpen(ctx context.Context, w http.ResponseWriter, r *http.Request, q *openRequest, run *running) {
	e := newEvents(w)
	_, object := q.form.objects()
	sent := make([]progress, len(run.answers))
	err := run.follow(ctx, func(i int) error {
		var counted []*answer
		if q.usage.always {
			counted = run.answers[i : i+1]
		}
		for _, choice := range q.form.events(run.answers[i], &sent[i]) {
			event := q.response(run, object, counted...)
			event.Choices = append(event.Choices, choice)
			if err := e.send(event); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && q.usage.last {
		err = e.send(q.response(run, object, run.answers...))
	}
	e.end(r.Context(), err)
}
