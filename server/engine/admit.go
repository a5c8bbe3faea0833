package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"lorikeet/lora"
	"lorikeet/model"
)

// maxOvertaken is how many sequences may start from when one found no place for
// its adapter until others are held back for it.
const maxOvertaken = 32

// errDrained says that an adapter takes no more sequences, so that its slot
// comes free.
var errDrained = errors.New("engine: the adapter's slot is wanted")

// admission is the state of a pass over the waiting sequences.
type admission struct {
	arriving bool     // an adapter is being uploaded that a sequence waits for
	starving []uint64 // adapters for which a slot is being drained
	drained  []uint64 // the adapters in these slots
	rests    []rest   // scratch of drainFor
	barren   int      // passes in a row with nothing in flight that launched nothing
}

// verdict is what became of a waiting sequence.
type verdict int

const (
	started    verdict = iota
	passedOver         // those behind it may start all the same
	holdsLine          // those behind it may not
)

// admitWaiting starts waiting sequences in order. One whose adapter finds no
// slot, or is on its way to the device, is passed over, though not for ever. One
// that finds no lane or too few pages holds the line, so that large requests
// are not overtaken at all.
func (s *scheduler) admitWaiting(left *budget) {
	s.arriving, s.starving, s.drained = false, s.starving[:0], s.drained[:0]
	kept := s.waiting[:0]
	for i, q := range s.waiting {
		v := s.tryStart(q, left)
		if v == holdsLine {
			kept = append(kept, s.waiting[i:]...)
			break
		}
		if v == passedOver {
			kept = append(kept, q)
		}
	}
	clear(s.waiting[len(kept):])
	s.waiting = kept
}

func (s *scheduler) tryStart(q *sequence, left *budget) verdict {
	if q.finished {
		return passedOver
	}
	entries := q.preparing()
	if len(s.lanes) == 0 || left.rows <= 0 || left.logits <= 0 || entries > left.entries && left.entries < mostPrepared || !s.mayFit(q) {
		return holdsLine
	}
	if err := s.place(q); err != nil {
		return s.notPlaced(q, err)
	}
	if !s.reserve(q) {
		s.unplace(q)
		return holdsLine
	}
	s.start(q)
	left.entries -= entries
	s.chooseChunk(q, left)
	return started
}

// place pins the sequence's adapter in a slot. Idle pages make room for it.
func (s *scheduler) place(q *sequence) error {
	if q.adapter == nil {
		return nil
	}
	if slices.Contains(s.drained, q.adapterID()) {
		return errDrained
	}
	for {
		// An adapter that has just arrived for a sequence before this one must
		// not make room, or the two could take turns without ever running.
		if used, ok := s.slots.Idle(); s.arriving && ok && used == s.clock {
			return lora.ErrArriving
		}
		slot, err := s.slots.Place(q.adapter.Adapter(), s.clock)
		if err == nil {
			s.slots.Pin(slot)
			q.slot = slot
			return nil
		}
		if !errors.Is(err, lora.ErrNoPages) || !s.evict() {
			return err
		}
	}
}

// touch notes that the sequence's adapter was in use until now, as its prefixes
// were. To place an adapter that is pinned does just that.
func (s *scheduler) touch(q *sequence) {
	if q.slot == model.Base {
		return
	}
	if _, err := s.slots.Place(q.adapter.Adapter(), s.clock); err != nil {
		panic(fmt.Sprintf("engine: a pinned adapter has lost its slot: %v", err))
	}
}

// unplace unpins the sequence's adapter.
func (s *scheduler) unplace(q *sequence) {
	if q.slot != model.Base {
		s.slots.Unpin(q.slot)
		q.slot = model.Base
	}
}

// notPlaced decides about a sequence whose adapter has no place now.
func (s *scheduler) notPlaced(q *sequence, err error) verdict {
	switch {
	case errors.Is(err, lora.ErrArriving):
		s.arriving = true
	case errors.Is(err, errDrained):
		s.starves(q)
	case errors.Is(err, lora.ErrNoSlot):
		if s.starves(q) {
			s.drainFor(q)
		}
	case errors.Is(err, lora.ErrNoPages):
		if s.starves(q) { // all who start take pages, whatever their adapters
			return holdsLine
		}
	default:
		q.refuse(err)
	}
	return passedOver
}

// starves says whether enough sequences have started since this one was first
// passed over.
func (s *scheduler) starves(q *sequence) bool {
	if !q.passed {
		q.passed, q.passedAt = true, s.starts
	}
	return s.starts-q.passedAt >= maxOvertaken
}

// rest is how many rows the running sequences of an adapter can still need.
type rest struct {
	adapter uint64
	rows    int
}

// drainFor takes an adapter's sequences off admission, so that its slot comes
// free for a starving one: of the adapters that run, the one that can be done
// soonest. Each starving adapter drains one slot; the others go on as before.
func (s *scheduler) drainFor(q *sequence) {
	if slices.Contains(s.starving, q.adapterID()) {
		return
	}
	s.starving = append(s.starving, q.adapterID())
	s.rests = s.rests[:0]
	for _, r := range s.running {
		if r.adapter == nil || r.adapter.Adapter().Pinned || slices.Contains(s.drained, r.adapterID()) {
			continue // a pinned adapter keeps its slot, running or not
		}
		at := slices.IndexFunc(s.rests, func(x rest) bool { return x.adapter == r.adapterID() })
		if at < 0 {
			at = len(s.rests)
			s.rests = append(s.rests, rest{adapter: r.adapterID()})
		}
		s.rests[at].rows = max(s.rests[at].rows, r.request.tokens()-r.next)
	}
	if len(s.rests) > 0 {
		soonest := slices.MinFunc(s.rests, func(a, b rest) int { return a.rows - b.rows })
		s.drained = append(s.drained, soonest.adapter)
	}
}

// cached finds the longest cached prefix that a sequence may take. One token at
// least is left to compute, whose row gives the next one, and so are the rows
// whose log probabilities are wanted.
func (s *scheduler) cached(q *sequence) (*prefix, int) {
	if !s.caching {
		return nil, 0
	}
	return s.prefixes.longest(q.owner(), q.tokens[:min(len(q.tokens)-1, q.scoreFrom)])
}

// needs is how many pages must be free or idle for a sequence to start: for its
// prompt, and for what the running ones will take soon. A sequence that was
// preempted starts again only when there is room for it to double, so that none
// is preempted over and over.
func (s *scheduler) needs(q *sequence) int {
	wanted := model.PagesFor(q.known)
	for _, r := range s.running {
		if r.runs() {
			wanted += 1 + max(0, model.PagesFor(r.known)-len(r.pages))
		}
	}
	if q.preempted && len(s.running) > 0 {
		wanted += min(model.PagesFor(q.known), model.PagesFor(q.request.tokens())-model.PagesFor(q.known))
	}
	p, _ := s.cached(q)
	for ; p != nil && p.parent != nil; p = p.parent {
		if p.users > 0 { // neither free nor idle, nor needed again
			wanted--
		}
	}
	return wanted
}

// mayFit says whether the pages that a sequence needs could be there if all
// adapters made room.
func (s *scheduler) mayFit(q *sequence) bool {
	return s.pages.Free()+s.prefixes.idle+s.adapterPages() >= s.needs(q)
}

// reserve makes sure that the pages that a sequence needs are free or cached
// prefixes, at the cost of idle adapters. It takes none yet.
func (s *scheduler) reserve(q *sequence) bool {
	needs := s.needs(q)
	for s.pages.Free()+s.prefixes.idle < needs {
		if _, ok := s.idleAdapter(); !ok {
			return false
		}
		s.slots.EvictIdle()
	}
	return true
}

// start gives a sequence its lane and the pages of its cached prefix.
func (s *scheduler) start(q *sequence) {
	s.countWaiting(q, -1)
	q.lane = s.lanes[len(s.lanes)-1]
	s.lanes = s.lanes[:len(s.lanes)-1]
	if q.pages == nil {
		q.pages = make([]int32, 0, model.PagesFor(q.request.tokens()))
	}
	if p, pages := s.cached(q); p != nil {
		s.adopt(q, p, pages)
	}
	q.next = q.shared * model.PageTokens
	q.computed = q.next
	if !q.preempted {
		q.prepareAdjusting(s.ends, s.vocab)
		s.counts.PromptTokens += uint64(len(q.request.Prompt))
		s.counts.CachedTokens += uint64(q.next)
		q.stream.pushStart(q.next, time.Since(q.submitted))
	}
	s.starts++
	s.running = insert(s.running, q)
}
