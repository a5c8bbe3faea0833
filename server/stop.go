package server

import "strings"

// stopper finds the first stop string in text that grows.
type stopper struct {
	stops   []string
	longest int
}

func newStopper(stops []string) stopper {
	s := stopper{stops: stops}
	for _, stop := range stops {
		s.longest = max(s.longest, len(stop))
	}
	return s
}

// find returns the stop string that begins first in text and where it begins, or -1. Of strings that begin together
// the one listed first wins.
func (s *stopper) find(text string) (stop string, at int) {
	at = -1
	for _, candidate := range s.stops {
		if i := strings.Index(text, candidate); i >= 0 && (at < 0 || i < at) {
			stop, at = candidate, i
		}
	}
	return stop, at
}

// safe returns how much of text cannot become part of a stop string, whatever follows.
func (s *stopper) safe(text string) int {
	for at := max(0, len(text)-s.longest+1); at < len(text); at++ {
		for _, stop := range s.stops {
			if strings.HasPrefix(stop, text[at:]) {
				return at
			}
		}
	}
	return len(text)
}
