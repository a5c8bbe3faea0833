package engine

import "lorikeet/model"

// Stats is the state of an engine after its last step.
type Stats struct {
	Running, Waiting        int // requests
	UsedTokens, TotalTokens int // of the KV pool, in whole pages
}

// Stats returns the state after the last step, from any goroutine.
func (e *Engine) Stats() Stats { return *e.stats.Load() }

// publish makes the state visible to Stats when it has changed.
func (e *Engine) publish() {
	now := Stats{
		Running: len(e.running), Waiting: len(e.waiting),
		UsedTokens:  (e.pages.Total() - e.pages.Free()) * model.PageTokens,
		TotalTokens: e.pages.Total() * model.PageTokens,
	}
	if last := e.stats.Load(); last == nil || *last != now {
		changed := now // a copy, so that a step that changes nothing allocates nothing
		e.stats.Store(&changed)
	}
}
