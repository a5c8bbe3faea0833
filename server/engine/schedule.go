package engine

import (
	"cmp"
	"slices"

	"lorikeet/lora"
	"lorikeet/model"
)

// scheduler decides what runs in a step. It belongs to the engine's goroutine.
type scheduler struct {
	limits   model.Limits
	slots    Slots // nil: no adapters
	pages    *model.Pages
	prefixes *prefixes
	caching  bool    // computed prefixes are kept for later sequences
	ends     []int32 // end-of-sequence ids of the model
	vocab    int

	waiting []*sequence // in order
	running []*sequence // in order; have a lane, a slot if adapted, and pages for what was launched
	leaving *sequence   // the one of running that gives everything back next; nil: none
	lanes   []int       // free lanes

	waitingTokens int // that those that wait have to compute
	retracted     int // of those that wait, sequences that have run before

	clock    uint64 // passes of schedule
	arrivals uint64 // sequences that have come
	starts   uint64 // sequences that were started, again ones included
	admission
	chosen  []choice // scratch of schedule
	evicted [1]int32 // scratch of evict
	counts  Stats    // what Stats counts up
}

// choice is a run before the batch is put in order.
type choice struct {
	sequence *sequence
	rows     int
}

// budget is what is left of a step's limits, and of mostPrepared.
type budget struct{ rows, logits, adjusts, entries int }

// mostPrepared is how many entries prepareAdjusting may make before a step, or
// more for one sequence: 65 536 take 2 to 3 ms, and all running streams wait.
const mostPrepared = 1 << 16

func newScheduler(limits model.Limits, pages *model.Pages, slots Slots, config *Config) scheduler {
	s := scheduler{
		limits: limits, slots: slots, pages: pages, prefixes: newPrefixes(),
		caching: !config.NoPrefixCache, ends: config.EndTokens, vocab: config.Vocab,
	}
	for lane := limits.Lanes - 1; lane >= 0; lane-- {
		s.lanes = append(s.lanes, lane)
	}
	return s
}

// idle says whether no sequence waits or runs.
func (s *scheduler) idle() bool { return len(s.waiting) == 0 && len(s.running) == 0 }

// order is the one order of sequences: higher priority first, then arrival. In
// it they start and grow; in the opposite one they make room for others. The
// first of all is thus never disturbed, so that something always finishes.
func order(a, b *sequence) int {
	return cmp.Or(cmp.Compare(b.request.Priority, a.request.Priority), cmp.Compare(a.arrival, b.arrival))
}

// insert puts a sequence in its place in a list that is in order.
func insert(list []*sequence, q *sequence) []*sequence {
	at, _ := slices.BinarySearchFunc(list, q, order)
	return slices.Insert(list, at, q)
}

// arrive makes a new sequence wait.
func (s *scheduler) arrive(q *sequence) {
	s.arrivals++
	q.arrival = s.arrivals
	s.wait(q)
}

// wait puts a sequence in its place among those that wait.
func (s *scheduler) wait(q *sequence) {
	s.waiting = insert(s.waiting, q)
	s.countWaiting(q, 1)
}

// countWaiting notes that a sequence has joined (1) or left (-1) those that wait.
func (s *scheduler) countWaiting(q *sequence, n int) {
	s.waitingTokens += n * q.known
	if q.preempted {
		s.retracted += n
	}
}

// schedule fills a step: first every decoding sequence, one row each, so that
// prompts never stop running answers; then prompt chunks of running sequences;
// then newly admitted ones. It returns false when there is nothing to run.
func (s *scheduler) schedule(to *step) bool {
	s.clock++
	s.preempt()
	left := budget{rows: s.limits.Rows, logits: s.limits.Logits, adjusts: s.limits.Adjusts, entries: mostPrepared}
	s.chosen = s.chosen[:0]
	for _, q := range s.running {
		if q.runs() && !q.prefilling() && q != s.leaving {
			s.chooseNext(q, &left)
		}
	}
	for _, q := range s.running {
		if q.runs() && q.prefilling() && q != s.leaving {
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
	targets, _ := q.score(q.next, rows)
	wanted := len(targets)
	if q.next+rows >= q.known {
		wanted++
		left.adjusts -= min(q.mostAdjusts(), s.limits.Adjusts)
	}
	s.chosen = append(s.chosen, choice{q, rows})
	left.rows -= rows
	left.logits -= wanted
}

// chooseNext schedules the row of a decoding sequence. When no page is left for
// it, the sequence sits the step out.
func (s *scheduler) chooseNext(q *sequence, left *budget) {
	if q.waitsForToken() || !s.mayAdjust(q, left) {
		return
	}
	if !s.grow(q, q.next+1) {
		s.makeRoom()
		return
	}
	s.choose(q, 1, left)
}

// mayAdjust says whether the step has room for the adjustments of the next
// token. A step has room for any one sequence's, of which no token has two.
func (s *scheduler) mayAdjust(q *sequence, left *budget) bool {
	return min(q.mostAdjusts(), s.limits.Adjusts) <= left.adjusts
}

// chooseChunk schedules as much of a prompt as fits, which may be nothing. One
// logit row is kept for the token that follows the prompt.
func (s *scheduler) chooseChunk(q *sequence, left *budget) {
	rows := min(q.known-q.next, left.rows)
	if q.scoreFrom < len(q.request.Prompt)-1 {
		rows = min(rows, max(0, q.scoreFrom-q.next)+left.logits-1)
	}
	if rows <= 0 || left.logits <= 0 || !s.mayAdjust(q, left) {
		return
	}
	if !s.grow(q, q.next+rows) {
		s.grow(q, (len(q.pages)+s.pages.Free())*model.PageTokens)
		rows = min(rows, len(q.pages)*model.PageTokens-q.next)
	}
	if rows == 0 {
		s.makeRoom()
		return
	}
	s.choose(q, rows, left)
}

// fill writes the chosen runs into the step and notes what they will have done.
func (s *scheduler) fill(to *step) {
	to.sequences = to.sequences[:0]
	to.batch.Runs = to.batch.Runs[:0]
	to.batch.Rank, to.batch.Targets = 0, lora.Targets{}
	to.adjusts = to.adjusts[:0]
	for _, c := range s.chosen {
		q := c.sequence
		run := model.Run{
			Lane: q.lane, Slot: q.slot, Start: q.next, Rows: c.rows,
			Pages: q.pages[q.tabled:], FirstPage: q.tabled, Logprobs: q.logprobs(),
		}
		q.tabled = len(q.pages)
		if q.prefilling() {
			run.Token = q.tokens[q.next : q.next+c.rows]
			run.Score, run.ScoreFrom = q.score(q.next, c.rows)
		}
		q.next += c.rows
		if !q.prefilling() && q.launched < q.request.Sampling.MaxNewTokens {
			run.Sample = &q.sampling
			if first := len(to.adjusts); q.mostAdjusts() > 0 {
				to.adjusts = q.adjust(to.adjusts)
				run.Adjust = to.adjusts[first:]
			}
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

// release lets go of everything that a finished sequence holds. It runs once
// per sequence: when it has finished and no step in flight refers to it.
func (s *scheduler) release(q *sequence) {
	if q.lane < 0 {
		s.countWaiting(q, -1)
	}
	s.vacate(q)
	q.adapter.Release()
}

// vacate gives back the place of a running sequence: its lane, its slot and its
// pages, which stay in the prefix cache as far as they are whole. This is the
// only place that does.
func (s *scheduler) vacate(q *sequence) {
	if q.lane < 0 {
		return
	}
	if s.leaving == q {
		s.leaving = nil
	}
	s.share(q, true)
	s.prefixes.leave(q.prefix, s.clock)
	s.pages.Give(q.pages[q.shared:])
	s.lanes = append(s.lanes, q.lane)
	s.touch(q)
	s.unplace(q)
	q.lane, q.prefix, q.shared, q.pages, q.tabled = -1, nil, 0, q.pages[:0], 0
}
