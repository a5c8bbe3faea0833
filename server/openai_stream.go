package server

import (
	"context"
	"net/http"
)

// progress is what a stream's client has of an answer.
type progress struct {
	begun      bool
	bytes      int // of the visible text
	tokens     int // whose logprobs it has
	characters int // of those tokens
}

// text is what is new of an answer's text.
func (p *progress) text(a *answer) string {
	all := a.visible()
	fresh := all[p.bytes:]
	p.bytes = len(all)
	return fresh
}

// streamOpen sends what is new of each sequence as events.
func (s *Server) streamOpen(ctx context.Context, w http.ResponseWriter, r *http.Request, q *openRequest, run *running) {
	e := newEvents(w)
	_, object := q.form.objects()
	sent := make([]progress, len(run.answers))
	err := run.follow(ctx, func(i int) error {
		a := run.answers[i]
		for _, choice := range q.form.events(a, &sent[i]) {
			event := q.response(run, object)
			if q.usage.always {
				event = q.response(run, object, a)
			}
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
