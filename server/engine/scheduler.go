package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"lorikeet/lora"
	"lorikeet/model"
)

// scheduler decides what runs in a step. It belongs to the engine's goroutine.
type scheduler struct {
	limits  model.Limits
	slots   Slots
	waiting []*sequence // in order of arrival
	running []*sequence // have a lane, their pages and, if adapted, a slot
	lanes   []int       // free lanes
	pages   *model.Pages
	clock   uint64   // steps scheduled
	chosen  []choice // scratch of schedule
	counts  Stats    // what Stats counts up
}

// choice is a run before the batch is put in order.
type choice struct {
	sequence *sequence
	rows     int
}

// budget is what is left of a step's limits.
type budget struct{ rows, logits int }

func newScheduler(limits model.Limits, pages *model.Pages, slots Slots) scheduler {
	s := scheduler{limits: limits, slots: slots, pages: pages}
	for lane := limits.Lanes - 1; lane >= 0; lane-- {
		s.lanes = append(s.lanes, lane)
	}
	return s
}

// idle says whether no sequence waits or runs.
func (s *scheduler) idle() bool { return len(s.waiting) == 0 && len(s.running) == 0 }

// schedule fills a step: first every decoding sequence, one row each, so that
// prompts never stop running answers; then prompt chunks of running sequences;
// then newly admitted ones. It returns false when there is nothing to run.
func (s *scheduler) schedule(to *step) bool {
	s.clock++
	left := budget{rows: s.limits.Rows, logits: s.limits.Logits}
	s.chosen = s.chosen[:0]
	for _, q := range s.running {
		if !q.finished && !q.prefilling() && !q.exhausted() {
			s.choose(q, 1, &left)
		}
	}
	for _, q := range s.running {
		if !q.finished && q.prefilling() {
			s.chooseChunk(q, &left)
		}
	}
	s.admitWaiting(&left)
	if len(s.chosen) == 0 {
		return false
	}
	slices.SortStableFunc(s.chosen, func(a, b choice) int {
		return cmp.Compare(uint(a.sequence.slot), uint(b.sequence.slot)) // Base is -1: last
	})
	s.fill(to)
	return true
}

func (s *scheduler) choose(q *sequence, rows int, left *budget) {
	wanted := 0
	if targets, _ := q.score(q.next, rows); len(targets) > 0 {
		wanted = len(targets)
	}
	if q.next+rows >= len(q.request.Prompt) {
		wanted++
	}
	s.chosen = append(s.chosen, choice{q, rows})
	left.rows -= rows
	left.logits -= wanted
}

// chooseChunk schedules as much of a prompt as fits, which may be nothing. One
// logit row is kept for the token that follows the prompt.
func (s *scheduler) chooseChunk(q *sequence, left *budget) {
	rows := min(len(q.request.Prompt)-q.next, left.rows)
	if start := q.request.Logprobs.Start; q.request.Logprobs.Return && start >= 0 {
		rows = min(rows, max(0, start-q.next)+left.logits-1)
	}
	if rows > 0 && left.logits > 0 {
		s.choose(q, rows, left)
	}
}

// maxOvertaken is how many later sequences may be admitted before one whose
// adapter finds no slot.
const maxOvertaken = 32

// admitWaiting starts waiting sequences in order of arrival. One whose adapter
// finds no slot is passed over, but not for ever: slots come free once nobody
// overtakes it any more. One that finds no pages or no lane holds the line, so
// that large requests are not overtaken at all.
func (s *scheduler) admitWaiting(left *budget) {
	kept := s.waiting[:0]
	var passed *sequence // the first that found no slot
	for i, q := range s.waiting {
		if q.finished {
			kept = append(kept, q)
			continue
		}
		if !s.room(q, left) || passed != nil && passed.overtaken >= maxOvertaken {
			kept = append(kept, s.waiting[i:]...)
			break
		}
		err := s.place(q)
		if errors.Is(err, lora.ErrNoPages) {
			kept = append(kept, s.waiting[i:]...)
			break
		}
		switch {
		case errors.Is(err, lora.ErrNoSlot), errors.Is(err, lora.ErrArriving):
			kept = append(kept, q)
			if passed == nil {
				passed = q
			}
		case err != nil:
			q.refuse(err)
			kept = append(kept, q)
		default:
			s.start(q)
			s.chooseChunk(q, left)
			if passed != nil {
				passed.overtaken++
			}
		}
	}
	clear(s.waiting[len(kept):])
	s.waiting = kept
}

// room says whether a sequence could start in this step if adapters made room.
func (s *scheduler) room(q *sequence, left *budget) bool {
	return len(s.lanes) > 0 && left.rows > 0 && left.logits > 0 && s.pages.Free()+s.adapterPages() >= model.PagesFor(q.request.tokens())
}

// place pins the sequence's adapter in a slot and sees to it that its pages are
// free, evicting idle adapters where it must.
func (s *scheduler) place(q *sequence) error {
	if q.adapter != nil {
		slot, err := s.slots.Place(q.adapter.Adapter(), s.clock)
		for errors.Is(err, lora.ErrNoPages) && s.evict() {
			slot, err = s.slots.Place(q.adapter.Adapter(), s.clock)
		}
		if err != nil {
			return err
		}
		s.slots.Pin(slot)
		q.slot = slot
	}
	pages := model.PagesFor(q.request.tokens())
	for s.pages.Free() < pages && s.evict() {
	}
	if s.pages.Free() >= pages {
		return nil
	}
	if q.slot != model.Base {
		s.slots.Unpin(q.slot)
		q.slot = model.Base
	}
	if len(s.running) == 0 {
		return fmt.Errorf("engine: %d tokens need %d pages; beside the adapter there are %d", q.request.tokens(), pages, s.pages.Free())
	}
	return lora.ErrNoPages
}

// evict frees the pages of the adapter that has been idle longest; false when
// there is none.
func (s *scheduler) evict() bool {
	if s.slots == nil {
		return false
	}
	if _, ok := s.slots.Idle(); !ok {
		return false
	}
	s.slots.EvictIdle()
	return true
}

// adapterPages counts the pages that adapters hold.
func (s *scheduler) adapterPages() int {
	if s.slots == nil {
		return 0
	}
	return s.slots.Pages()
}

// start gives a sequence its lane and all pages it can need.
func (s *scheduler) start(q *sequence) {
	q.lane = s.lanes[len(s.lanes)-1]
	s.lanes = s.lanes[:len(s.lanes)-1]
	q.pages = s.pages.Take(make([]int32, 0, model.PagesFor(q.request.tokens())), model.PagesFor(q.request.tokens()))
	s.counts.PromptTokens += uint64(len(q.request.Prompt))
	s.running = append(s.running, q)
}

// fill writes the chosen runs into the step and notes what they will have done.
func (s *scheduler) fill(to *step) {
	to.sequences = to.sequences[:0]
	to.batch.Runs = to.batch.Runs[:0]
	to.batch.Rank, to.batch.Targets = 0, lora.Targets{}
	for _, c := range s.chosen {
		q := c.sequence
		run := model.Run{
			Lane: q.lane, Slot: q.slot, Start: q.next, Rows: c.rows,
			Pages: q.pages[q.tabled:], FirstPage: q.tabled, Logprobs: q.logprobs(),
		}
		q.tabled = len(q.pages)
		if q.prefilling() {
			run.Token = q.request.Prompt[q.next : q.next+c.rows]
			run.Score, run.ScoreFrom = q.score(q.next, c.rows)
		}
		q.next += c.rows
		if !q.prefilling() && q.launched < q.request.Sampling.MaxNewTokens {
			run.Sample = &q.sampling
			q.launched++
		}
		q.inFlight++
		if q.slot != model.Base {
			to.batch.Rank = max(to.batch.Rank, s.slots.Rank(q.slot))
			to.batch.Targets = to.batch.Targets.Union(q.adapter.Adapter().Targets)
		}
		to.sequences = append(to.sequences, q)
		to.batch.Runs = append(to.batch.Runs, run)
	}
}

// release gives back what a finished sequence holds. This is the only place
// that does, and it runs once per sequence: when it has finished and no step in
// flight refers to it.
func (s *scheduler) release(q *sequence) {
	if q.lane >= 0 {
		s.lanes = append(s.lanes, q.lane)
		s.pages.Give(q.pages)
		q.lane, q.pages = -1, nil
	}
	if q.slot != model.Base {
		s.slots.Unpin(q.slot)
		q.slot = model.Base
	}
	q.adapter.Release()
}
