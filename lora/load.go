package lora

import (
	"context"
	"fmt"
	"log/slog"
)

// Load reads an adapter and registers it under a name, which must be free. It is also free for another path once a
// client has unloaded it, even if a request has had the adapter loaded again since: the load then replaces it. So whoever
// unloads an adapter and loads another one never fails for what requests do in between. When ctx ends meanwhile the name
// is as it was, though another adapter may have been evicted.
func (r *Registry) Load(ctx context.Context, name, path string, pinned bool) error {
	return r.load(ctx, name, source{path, pinned}, false)
}

// Replace is Load of a name that need not be free. Requests get the old adapter until it returns, and then the new one;
// those that have the old one keep it. Only where host memory has no place for both of them, requests wait for the new one.
func (r *Registry) Replace(ctx context.Context, name, path string, pinned bool) error {
	return r.load(ctx, name, source{path, pinned}, true)
}

func (r *Registry) load(ctx context.Context, name string, from source, replace bool) error {
	if len(name) > maxNameBytes {
		return refuseName(name)
	}
	to := &record{name: name, source: from}
	err := r.do(ctx, func(turn bool) (bool, *loading, error) { return r.take(to, replace, turn) })
	if err != nil {
		return err
	}
	_, err = r.fill(ctx, name, 0)
	return err
}

// take is the attempt to claim a name for a load.
func (r *Registry) take(to *record, replace, turn bool) (done bool, behind *loading, err error) {
	old, l, was := r.loaded[to.name], r.loading[to.name], r.names.records[to.name]
	elsewhere := was != nil && was.unloaded && was.path != to.path
	name := []string{to.name}
	switch {
	case l != nil && (replace || elsewhere && !l.asked):
		return false, l, nil
	case l != nil || old != nil && !replace && !elsewhere:
		return false, nil, refuseLoaded(to.name)
	case to.pinned && r.pinned(name) >= r.slots-1:
		return false, nil, refusePinned(to.name)
	case !r.fits(1, name):
		return false, nil, refuseEviction()
	case !turn:
		return false, nil, nil
	}
	if old != nil && !r.fits(2, name) {
		r.lose(old)
	}
	if !r.room(1, name) {
		return false, nil, nil
	}
	r.claim(to, true)
	return true, nil, nil
}

// claim reserves a name, and a place, for an adapter that is about to be read.
func (r *Registry) claim(to *record, asked bool) {
	r.loading[to.name] = &loading{record: to, asked: asked, done: make(chan struct{})}
}

// unclaim gives up a name whose adapter was registered, or is not to come.
func (r *Registry) unclaim(name string) {
	close(r.loading[name].done)
	delete(r.loading, name)
	r.change()
}

// fill reads the adapter whose name is claimed and registers it with its first references. The claim ends at once with
// the registration, so that the name is never free in between, nor counted twice.
func (r *Registry) fill(ctx context.Context, name string, refs int) (e *entry, err error) {
	to := r.claimed(name)
	var adapter *Adapter
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if adapter != nil {
			e = r.register(adapter, to, refs)
		}
		r.unclaim(name)
	}()
	a, err := r.read(name, to.path)
	if err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("lora: load %q: %w", name, err)
	}
	a.Pinned = to.pinned
	adapter = a
	return nil, nil
}

// claimed is where the adapter of a claimed name is to come from.
func (r *Registry) claimed(name string) *record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loading[name].record
}

// register gives an adapter its name, which the one that had it loses in the same moment.
func (r *Registry) register(a *Adapter, to *record, refs int) *entry {
	if old := r.loaded[a.Name]; old != nil {
		r.retire(old)
	}
	for _, e := range r.loaded {
		if e.adapter.Path == a.Path {
			slog.Warn("lora: one path under two names", "path", a.Path, "adapter", e.adapter.Name, "and", a.Name)
			break
		}
	}
	r.clock++
	e := &entry{adapter: a, refs: refs, since: r.clock, used: r.clock, freed: make(chan struct{})}
	if refs > 0 {
		r.held.InUse++
	}
	r.loaded[a.Name] = e
	r.names.found(to)
	r.held.Adapters++
	r.held.Bytes += a.Bytes()
	return e
}
