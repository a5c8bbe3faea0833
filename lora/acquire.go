package lora

import (
	"context"
	"log/slog"
	"slices"
)

// AcquireAll refers to the adapters of a request with several prompts, all or none of them; the empty name stands for
// the base model, whose Ref is nil. It loads those that were evicted or unloaded again, waits for loads in progress and,
// while adapters in use take all the places in host memory, for room.
func (r *Registry) AcquireAll(ctx context.Context, names []string) ([]*Ref, error) {
	distinct := slices.Compact(slices.Sorted(slices.Values(names)))
	if r.maxLoaded > 0 && len(distinct) > r.maxLoaded {
		return nil, refuseTooMany(len(distinct), r.maxLoaded)
	}
	g := grasp{uses: map[string]int{}, entries: map[string]*entry{}}
	for _, name := range names {
		if name != "" {
			g.uses[name]++
		}
	}
	distinct = slices.DeleteFunc(distinct, func(name string) bool { return name == "" })
	err := r.do(ctx, func(turn bool) (bool, *loading, error) { return r.reach(&g, distinct, turn) })
	if err != nil {
		return nil, err
	}
	if err := r.complete(&g); err != nil {
		return nil, err
	}
	refs := make([]*Ref, len(names))
	for i, name := range names {
		if name != "" {
			refs[i] = &Ref{registry: r, entry: g.entries[name]}
		}
	}
	return refs, nil
}

// grasp is what a request has of its adapters.
type grasp struct {
	uses    map[string]int    // how many references each name is to have
	entries map[string]*entry // that it refers to
	claimed []string          // whose names and places it has, to read them
}

// reach is the attempt to refer to the loaded ones of some adapters and to claim the others.
func (r *Registry) reach(g *grasp, names []string, turn bool) (done bool, behind *loading, err error) {
	var missing []*record // which may be forgotten for those that are evicted
	for _, name := range names {
		switch e, l := r.loaded[name], r.loading[name]; {
		case e != nil:
			r.touch(e) // the last to be evicted for another one of the names
		case l != nil:
			behind = l
		case r.names.records[name] == nil:
			return false, nil, Unknown(name, r.names.some())
		default:
			missing = append(missing, r.names.records[name])
		}
	}
	if behind != nil {
		return false, behind, nil
	}
	if len(missing) > 0 {
		if err := r.mayReload(missing, names); err != nil {
			return false, nil, err
		}
		if !turn || !r.room(len(missing), names) {
			return false, nil, nil
		}
	}
	for _, name := range names {
		if e := r.loaded[name]; e != nil {
			if e.refs == 0 {
				r.held.InUse++
			}
			e.refs += g.uses[name]
			g.entries[name] = e
		}
	}
	for _, m := range missing {
		r.claim(m, false)
		g.claimed = append(g.claimed, m.name)
	}
	return true, nil, nil
}

// mayReload refuses to load adapters again, for a request that names these and others, when it would break a limit.
func (r *Registry) mayReload(missing []*record, names []string) error {
	pinned := r.pinned(nil)
	for _, m := range missing {
		if !m.pinned {
			continue
		}
		if pinned++; pinned > r.slots-1 {
			return refuseReload(m.name, refusePinned(m.name))
		}
	}
	if !r.fits(len(names), names) {
		return refuseReload(missing[0].name, refuseEviction())
	}
	return nil
}

// complete reads what was claimed. When it fails, everything is let go of.
func (r *Registry) complete(g *grasp) (err error) {
	whole := false
	defer func() {
		if !whole { // an error, or a reader that panicked
			r.abandon(g)
		}
	}()
	for len(g.claimed) > 0 {
		name := g.claimed[0]
		g.claimed = g.claimed[1:]
		slog.Info("lora: load again", "adapter", name)
		if g.entries[name], err = r.fill(context.Background(), name, g.uses[name]); err != nil {
			delete(g.entries, name)
			return refuseReload(name, err)
		}
	}
	whole = true
	return nil
}

// abandon lets go of everything.
func (r *Registry) abandon(g *grasp) {
	for name, e := range g.entries {
		r.letGo(e, g.uses[name])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range g.claimed {
		r.unclaim(name)
	}
}

func (r *Registry) touch(e *entry) {
	r.clock++
	e.used = r.clock
}
