package engine

import "slices"

// makeRoom is called when a sequence finds no page although nothing is idle: the
// last of the running sequences, which may be the very one, is to give
// everything back. One goes at a time, and none while a finished one is about
// to: what comes free may be enough.
func (s *scheduler) makeRoom() {
	if s.leaving != nil || slices.ContainsFunc(s.running, func(q *sequence) bool { return q.finished }) {
		return
	}
	s.leaving = s.running[len(s.running)-1]
}

// preempt makes the sequence that is to leave wait again, once no step in flight
// refers to it. It comes before everything that arrived later, and its prompt
// is then what it was asked with every token that it has produced: to compute
// these again gives the keys and values, and at the same position with the same
// seed the draws, that it would have had. Its reader does not notice.
func (s *scheduler) preempt() {
	q := s.leaving
	if q == nil || q.inFlight > 0 || q.finished {
		return
	}
	s.running = slices.DeleteFunc(s.running, func(r *sequence) bool { return r == q })
	s.vacate(q)
	q.next, q.computed, q.known = 0, 0, len(q.tokens)
	q.preempted = true
	s.counts.Preemptions++
	s.wait(q)
}
