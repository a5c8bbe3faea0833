package lora

import (
	"context"
	"log/slog"
	"slices"
)

// An adapter has one of maxLoaded places in host memory from before it is read until nobody uses it any more, whether or
// not it has its name still. Who needs places waits for his turn, evicts, and keeps the turn until there are enough; he
// then takes all that he needs at once. So whoever waits holds nothing that another one waits for.

// attempt does something under the registry's lock, if it can be done now. It is told whether it is its turn to make
// room, without which it may not. If it cannot be done it says for which load it waits; nil stands for room.
type attempt func(turn bool) (done bool, behind *loading, err error)

// do makes an attempt until it is done.
func (r *Registry) do(ctx context.Context, a attempt) error {
	turn := false
	defer func() {
		if turn {
			<-r.turn
		}
	}()
	for {
		r.mu.Lock()
		done, behind, err := a(turn)
		r.mu.Unlock()
		switch {
		case done || err != nil:
			return err
		case behind != nil:
			err = wait(ctx, behind.done)
		case turn:
			err = wait(ctx, r.changed)
		default:
			select {
			case r.turn <- struct{}{}:
				turn = true
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		if err != nil {
			return err
		}
	}
}

// wait waits for news or for the end of ctx.
func wait(ctx context.Context, news <-chan struct{}) error {
	select {
	case <-news:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// change tells who makes room to look again.
func (r *Registry) change() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// room says whether there are n more places, and evicts for them; not the adapters in keep. One that is in use loses its
// name when no other is left, so that those who wait get its place after its last user.
func (r *Registry) room(n int, keep []string) bool {
	for r.maxLoaded > 0 {
		missing := r.held.Adapters + len(r.loading) + n - r.maxLoaded
		if missing <= 0 {
			return true
		}
		leaving := r.held.Adapters - len(r.loaded)
		victim := r.victim(keep)
		if victim == nil || victim.refs > 0 && leaving >= missing {
			return false
		}
		slog.Info("lora: evict", "adapter", victim.adapter.Name, "users", victim.refs)
		r.lose(victim)
	}
	return true
}

// fits says whether there can ever be places for so many adapters at once beside those pinned ones that are not in keep.
func (r *Registry) fits(n int, keep []string) bool {
	return r.maxLoaded == 0 || r.pinned(keep)+n <= r.maxLoaded
}

// victim is the adapter to evict, nil when there is none.
func (r *Registry) victim(keep []string) *entry {
	var first *entry
	for name, e := range r.loaded {
		if !e.adapter.Pinned && !slices.Contains(keep, name) && (first == nil || r.before(e, first)) {
			first = e
		}
	}
	return first
}

// before says whether e is evicted before f: those that nobody uses come first.
func (r *Registry) before(e, f *entry) bool {
	if used := e.refs > 0; used != (f.refs > 0) {
		return !used
	}
	if r.oldestFirst {
		return e.since < f.since
	}
	return e.used < f.used
}

// pinned counts the pinned adapters but for those in except, loads in progress included.
func (r *Registry) pinned(except []string) int {
	n := 0
	for name, e := range r.loaded {
		if e.adapter.Pinned && !slices.Contains(except, name) {
			n++
		}
	}
	for name, l := range r.loading {
		if l.pinned && !slices.Contains(except, name) {
			n++
		}
	}
	return n
}
