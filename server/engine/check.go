package engine

import (
	"fmt"
	"slices"

	"lorikeet/model"
)

// check says what is wrong with the engine's books, if anything, between two
// turns of the loop. It walks every structure: each page is free, or held by the
// prefix cache, by one sequence or by an adapter, and by one of them only.
func (e *Engine) check() error {
	if err := e.checkLanes(); err != nil {
		return err
	}
	if err := e.checkPages(); err != nil {
		return err
	}
	if err := e.checkPrefixes(); err != nil {
		return err
	}
	if e.idle() {
		return e.checkIdle()
	}
	return nil
}

// checkIdle says what is wrong when no sequence is left: everything that was
// handed out must be back. It is quick, for it stands before the first request
// after a pause.
func (e *Engine) checkIdle() error {
	if len(e.lanes) != e.limits.Lanes {
		return fmt.Errorf("engine: %d of %d lanes are free with nothing running", len(e.lanes), e.limits.Lanes)
	}
	if h := e.holdings(); h.Running != 0 || e.prefixes.pages != e.prefixes.idle {
		return fmt.Errorf("engine: with nothing running %d pages are held by nobody, %d of %d cached ones are in use",
			h.Running, e.prefixes.pages-e.prefixes.idle, e.prefixes.pages)
	}
	if e.leaving != nil {
		return fmt.Errorf("engine: a sequence is to leave with nothing running")
	}
	if err := e.pages.Check(); err != nil {
		return err
	}
	if e.slots == nil {
		return nil
	}
	return e.slots.Check()
}

// checkLanes compares the sequences with their lists, and the lanes with both.
func (s *scheduler) checkLanes() error {
	if !slices.IsSortedFunc(s.waiting, order) || !slices.IsSortedFunc(s.running, order) {
		return fmt.Errorf("engine: sequences wait or run out of order")
	}
	if s.leaving != nil && !slices.Contains(s.running, s.leaving) {
		return fmt.Errorf("engine: a sequence is to leave that does not run")
	}
	tokens, retracted := 0, 0
	for _, q := range s.waiting {
		tokens += q.known
		if q.preempted {
			retracted++
		}
		if q.lane >= 0 || q.slot != model.Base || len(q.pages) > 0 || q.prefix != nil || q.inFlight > 0 {
			return fmt.Errorf("engine: a waiting sequence has lane %d, slot %d, %d pages and %d steps in flight", q.lane, q.slot, len(q.pages), q.inFlight)
		}
	}
	if tokens != s.waitingTokens || retracted != s.retracted {
		return fmt.Errorf("engine: %d tokens and %d retracted sequences wait, %d and %d are counted", tokens, retracted, s.waitingTokens, s.retracted)
	}
	held := slices.Clone(s.lanes)
	for _, q := range s.running {
		held = append(held, q.lane)
		if (q.slot == model.Base) != (q.adapter == nil) {
			return fmt.Errorf("engine: a running sequence has slot %d", q.slot)
		}
		if q.computed > q.next || model.PagesFor(q.next) > len(q.pages) || q.tabled > len(q.pages) || q.shared*model.PageTokens > q.computed {
			return fmt.Errorf("engine: a sequence has %d pages, %d in the page table, %d shared; %d rows launched, %d computed",
				len(q.pages), q.tabled, q.shared, q.next, q.computed)
		}
	}
	slices.Sort(held)
	for i, lane := range held {
		if i != lane || len(held) != s.limits.Lanes {
			return fmt.Errorf("engine: lanes %v are free or held, want each of %d once", held, s.limits.Lanes)
		}
	}
	return nil
}

// checkPages counts who holds each page.
func (s *scheduler) checkPages() error {
	if err := s.pages.Check(); err != nil {
		return err
	}
	holders := make([]int, s.pages.Total())
	for _, q := range s.running {
		for _, page := range q.pages[q.shared:] {
			holders[page]++
		}
	}
	for _, root := range s.prefixes.roots {
		root.walk(func(p *prefix) { holders[p.page]++ })
	}
	held := 0
	for page, n := range holders {
		if n > 1 || n == 1 && s.pages.IsFree(int32(page)) {
			return fmt.Errorf("engine: page %d has %d holders; free: %v", page, n, s.pages.IsFree(int32(page)))
		}
		held += n
	}
	if n := held + s.adapterPages() + s.pages.Free(); n != s.pages.Total() {
		return fmt.Errorf("engine: sequences and prefixes hold %d pages, adapters %d, and %d are free: %d of %d",
			held, s.adapterPages(), s.pages.Free(), n, s.pages.Total())
	}
	return nil
}

// checkPrefixes compares the prefix cache with itself and with its users.
func (s *scheduler) checkPrefixes() error {
	users := map[*prefix]int{}
	for _, q := range s.running {
		p := q.prefix
		for i := q.shared - 1; i >= 0; i-- {
			if p == nil || p.parent == nil || p.page != q.pages[i] || p.tokens != pageKey(q.tokens[i*model.PageTokens:]) {
				return fmt.Errorf("engine: page %d of a sequence is not the cached one", i)
			}
			users[p]++
			p = p.parent
		}
		if q.shared > 0 && s.prefixes.roots[q.owner()] != p {
			return fmt.Errorf("engine: a sequence shares pages of another owner")
		}
	}
	return s.prefixes.check(users)
}

// check says what is wrong with the cache, whose prefixes have these users.
func (t *prefixes) check(users map[*prefix]int) (err error) {
	pages, idle, leaves := 0, 0, 0
	for o, root := range t.roots {
		if root.owner != o || len(root.children) == 0 {
			return fmt.Errorf("engine: the prefixes of %v, filed under %v, have %d children", root.owner, o, len(root.children))
		}
		root.walk(func(p *prefix) {
			pages++
			if p.users == 0 {
				idle++
			}
			leaf := p.users == 0 && len(p.children) == 0
			if leaf {
				leaves++
			}
			if p.users != users[p] || p.parent.children[p.tokens] != p || leaf != (p.index >= 0) || leaf && t.leaves[p.index] != p {
				err = fmt.Errorf("engine: cached page %d has %d users, %d by count, %d children, place %d among the idle leaves",
					p.page, users[p], p.users, len(p.children), p.index)
			}
		})
	}
	if err == nil && (pages != t.pages || idle != t.idle || leaves != len(t.leaves)) {
		err = fmt.Errorf("engine: %d pages are cached, %d idle, %d idle leaves; by count %d, %d and %d", pages, idle, leaves, t.pages, t.idle, len(t.leaves))
	}
	return err
}

// walk visits the prefixes below p.
func (p *prefix) walk(visit func(*prefix)) {
	for _, c := range p.children {
		visit(c)
		c.walk(visit)
	}
}
