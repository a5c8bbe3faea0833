package server

import (
	"strings"
	"sync"
)

// flights knows the running requests by id, so that they can be aborted.
type flights struct {
	mu   sync.Mutex
	byID map[string]*flight
}

// flight is one running sequence. An abort that comes before its stream is known is kept.
type flight struct {
	stream  Stream
	aborted bool
}

// depart registers ids, all or none. An id that runs already is refused.
func (f *flights) depart(ids []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		if f.byID[id] != nil {
			return invalid("Duplicate request ID detected: %s", id)
		}
	}
	for _, id := range ids {
		f.byID[id] = new(flight)
	}
	return nil
}

// board gives the ids their streams.
func (f *flights) board(ids []string, streams []Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, id := range ids {
		flight := f.byID[id]
		flight.stream = streams[i]
		if flight.aborted {
			flight.stream.Cancel()
		}
	}
}

// land forgets ids that no longer run.
func (f *flights) land(ids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		delete(f.byID, id)
	}
}

// abort cancels every request whose id begins with prefix.
func (f *flights) abort(prefix string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, flight := range f.byID {
		if !strings.HasPrefix(id, prefix) {
			continue
		}
		flight.aborted = true
		if flight.stream != nil {
			flight.stream.Cancel()
		}
	}
}
