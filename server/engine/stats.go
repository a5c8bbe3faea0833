package engine

import (
	"lorikeet/lora"
	"lorikeet/model"
)

// Stats is the state of an engine after its last step, and what it has counted since it started.
type Stats struct {
	Running, Waiting        int // requests; those whose adapter is being read wait
	Retracted               int // of those that wait, such as have run before
	MaxRunning, StepTokens  int // how many may run at once, and how many tokens a step takes
	PendingTokens           int // of prompts, still to compute; the prefix cache may turn out to have some of those that wait
	UsedTokens, TotalTokens int // that running requests hold, and that the pool has, in whole pages
	Pages                   Holdings
	ResidentAdapters        int
	HostAdapters            lora.Held

	PromptTokens uint64 // prompt tokens of the requests that started
	CachedTokens uint64 // those of them whose keys and values were in memory already
	DecodeSteps  uint64 // steps in which requests took a token further
	NewTokens    uint64 // tokens delivered to their streams
	Preemptions  uint64 // times that a running request gave its pages back to be computed again
	// Evictions: pages of cached prefixes, and adapters.
	EvictedPages, EvictedAdapters uint64
}

// Holdings is who holds the pages of the pool; the sum is all of them.
type Holdings struct {
	Running  int // requests that run, shared pages counted once
	Cached   int // prefixes of earlier requests; taken when needed
	Adapters int // resident adapters, in use or idle
	Free     int
}

// Stats returns the state after the last step, from any goroutine.
func (e *Engine) Stats() Stats {
	now := *e.stats.Load()
	now.DecodeSteps, now.NewTokens = e.decodeSteps.Load(), e.newTokens.Load()
	now.Waiting += e.inbox.coming()
	if e.registry != nil {
		now.HostAdapters = e.registry.Held()
	}
	return now
}

// publish makes the state visible to Stats when it has changed.
func (e *Engine) publish() {
	now := e.counts
	now.Running, now.Waiting, now.Retracted = len(e.running), len(e.waiting), e.retracted
	now.MaxRunning, now.StepTokens = e.limits.Lanes, e.limits.Rows
	now.PendingTokens = e.pending()
	now.Pages = e.holdings()
	if e.slots != nil {
		now.ResidentAdapters, now.EvictedAdapters = e.slots.Resident(), e.slots.Evicted()
	}
	now.UsedTokens = now.Pages.Running * model.PageTokens
	now.TotalTokens = e.pages.Total() * model.PageTokens
	if last := e.stats.Load(); last == nil || *last != now {
		changed := now // a copy, so that a step that changes nothing allocates nothing
		e.stats.Store(&changed)
	}
}

// pending counts the known tokens that are still to be computed.
func (s *scheduler) pending() int {
	n := s.waitingTokens
	for _, q := range s.running {
		n += max(0, q.known-q.computed)
	}
	return n
}

// holdings counts the pages by holder.
func (s *scheduler) holdings() Holdings {
	h := Holdings{Cached: s.prefixes.idle, Adapters: s.adapterPages(), Free: s.pages.Free()}
	h.Running = s.pages.Total() - h.Cached - h.Adapters - h.Free
	return h
}
