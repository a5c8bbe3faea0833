package engine

import "lorikeet/model"

// obtain makes n pages free by evicting what nobody uses, if that is enough.
func (s *scheduler) obtain(n int) bool {
	for s.pages.Free() < n {
		if !s.evict() {
			return false
		}
	}
	return true
}

// evict gives up what has been idle longest: the page of a cached prefix, or
// the pages of an adapter. It returns false when nothing is idle.
func (s *scheduler) evict() bool {
	page, prefix := s.prefixes.oldest()
	adapter, resident := s.idleAdapter()
	switch {
	case prefix && (!resident || page <= adapter):
		s.evicted[0] = s.prefixes.evict()
		s.pages.Give(s.evicted[:])
		s.counts.EvictedPages++
	case resident:
		s.slots.EvictIdle()
	default:
		return false
	}
	return true
}

// idleAdapter is when the adapter that EvictIdle would take was last placed. One
// that was asked for in this very pass is not idle: a sequence waits for it.
func (s *scheduler) idleAdapter() (used uint64, ok bool) {
	if s.slots == nil {
		return 0, false
	}
	used, ok = s.slots.Idle()
	return used, ok && used < s.clock
}

// adapterPages counts the pages that adapters hold.
func (s *scheduler) adapterPages() int {
	if s.slots == nil {
		return 0
	}
	return s.slots.Pages()
}

// grow gives a sequence the pages of its first tokens, or returns false when
// they cannot be had.
func (s *scheduler) grow(q *sequence, tokens int) bool {
	n := model.PagesFor(tokens) - len(q.pages)
	if n <= 0 {
		return true
	}
	if !s.obtain(n) {
		return false
	}
	q.pages = s.pages.Take(q.pages, n)
	return true
}

// share puts the whole pages that a sequence has computed into the prefix cache,
// where later sequences find them. Where the cache has such a page already,
// computed beside this one, a running sequence keeps its own, since its line of
// the page table does not change while steps are in flight; one that is leaving
// gives its own back.
func (s *scheduler) share(q *sequence, leaving bool) {
	if !s.caching || q.broken {
		return
	}
	whole := min(q.computed, len(q.tokens)) / model.PageTokens
	for q.shared < whole {
		tokens := q.tokens[q.shared*model.PageTokens:]
		twin := s.prefixes.child(q.prefix, q.owner(), tokens)
		switch {
		case twin == nil:
			twin = s.prefixes.add(q.prefix, q.owner(), tokens, q.pages[q.shared])
		case leaving:
			s.pages.Give(q.pages[q.shared : q.shared+1])
			q.pages[q.shared] = twin.page
			s.prefixes.use(twin)
		default:
			return
		}
		q.prefix = twin
		q.shared++
	}
}

// adopt gives a sequence, which has no pages yet, those of a cached prefix.
func (s *scheduler) adopt(q *sequence, p *prefix, pages int) {
	q.prefix, q.shared = p, pages
	q.pages = q.pages[:pages]
	for i := pages - 1; i >= 0; i-- {
		q.pages[i] = p.page
		s.prefixes.use(p)
		p = p.parent
	}
}
