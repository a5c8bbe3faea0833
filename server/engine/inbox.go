package engine

import (
	"context"
	"fmt"
	"sync"
)

// inbox is where other goroutines leave work for the engine.
type inbox struct {
	mu       sync.Mutex
	arrived  []*sequence
	controls []func()
	reserved int // sequences on their way here, whose adapters may have to be read first
	waiting  int // sequences taken and not admitted yet
	closed   error
	news     chan struct{}
}

func newInbox() inbox { return inbox{news: make(chan struct{}, 1)} }

// reserve takes n places in the queue, for sequences that may come, until unreserve.
func (b *inbox) reserve(n, limit int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		return b.closed
	}
	if waiting := b.waiting + len(b.arrived) + b.reserved; waiting+n > limit {
		return fmt.Errorf("%w: %d requests wait already", ErrBusy, waiting)
	}
	b.reserved += n
	return nil
}

func (b *inbox) unreserve(n int) {
	b.mu.Lock()
	b.reserved -= n
	b.mu.Unlock()
}

// coming counts the sequences that have places only.
func (b *inbox) coming() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reserved
}

// put hands over sequences that have places.
func (b *inbox) put(s []*sequence) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		return b.closed
	}
	b.arrived = append(b.arrived, s...)
	b.wake()
	return nil
}

func (b *inbox) putControl(f func()) {
	b.mu.Lock()
	b.controls = append(b.controls, f)
	b.mu.Unlock()
	b.wake()
}

func (b *inbox) wake() {
	select {
	case b.news <- struct{}{}:
	default:
	}
}

func (b *inbox) wait(ctx context.Context) {
	select {
	case <-b.news:
	case <-ctx.Done():
	}
}

// take empties the inbox.
func (b *inbox) take() ([]*sequence, []func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	arrived, controls := b.arrived, b.controls
	b.waiting += len(arrived)
	b.arrived, b.controls = nil, nil
	return arrived, controls
}

// settle notes how many of the sequences taken still wait.
func (b *inbox) settle(waiting int) {
	b.mu.Lock()
	b.waiting = waiting
	b.mu.Unlock()
}

// close refuses everything from now on.
func (b *inbox) close(err error) {
	b.mu.Lock()
	b.closed = err
	b.mu.Unlock()
}
