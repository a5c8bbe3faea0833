package lora

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
)

// Ref keeps an adapter from being freed. A nil Ref stands for the base model.
type Ref struct {
	registry *Registry
	entry    *entry
	once     sync.Once
}

// Adapter is the adapter that is referred to.
func (f *Ref) Adapter() *Adapter { return f.entry.adapter }

// Release lets go of the adapter. Only the first call does anything.
func (f *Ref) Release() {
	if f == nil {
		return
	}
	f.once.Do(func() {
		f.registry.mu.Lock()
		defer f.registry.mu.Unlock()
		f.entry.refs--
		f.registry.freeIfUnused(f.entry)
	})
}

// Acquire refers to an adapter by name. It loads one that was evicted or
// unloaded again, and waits for a load of the name that is in progress.
func (r *Registry) Acquire(name string) (*Ref, error) {
	for {
		e, wait, from, err := r.find(name)
		switch {
		case err != nil:
			return nil, err
		case wait != nil:
			<-wait
			continue
		case e == nil:
			slog.Info("lora: load again", "adapter", name, "path", from.path)
			if e, err = r.load(context.Background(), name, from, 1); err != nil {
				return nil, refuseReload(name, err)
			}
		}
		return &Ref{registry: r, entry: e}, nil
	}
}

// find looks a name up. It returns the adapter with a reference more, or what
// to wait for before looking again, or, with the name reserved, where to load
// it from.
func (r *Registry) find(name string) (*entry, <-chan struct{}, source, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.loaded[name]; e != nil {
		e.refs++
		r.touch(e)
		return e, nil, source{}, nil
	}
	if l := r.loading[name]; l != nil {
		return nil, l.done, source{}, nil
	}
	from, ok := r.known[name]
	if !ok {
		return nil, nil, from, Unknown(name, slices.Sorted(maps.Keys(r.known)))
	}
	if err := r.beginLocked(name, from); err != nil {
		return nil, nil, from, refuseReload(name, err)
	}
	return nil, nil, from, nil
}

// AcquireAll refers to the adapters of a request with several prompts, all or
// none of them; the empty name stands for the base model, whose Ref is nil.
func (r *Registry) AcquireAll(names []string) ([]*Ref, error) {
	if err := r.prepare(names); err != nil {
		return nil, err
	}
	refs := make([]*Ref, len(names))
	for i, name := range names {
		if name == "" {
			continue
		}
		ref, err := r.Acquire(name)
		if err != nil {
			for _, acquired := range refs[:i] {
				acquired.Release()
			}
			return nil, err
		}
		refs[i] = ref
	}
	return refs, nil
}

// prepare makes the adapters that a request names the last to be evicted, so
// that loading one of them does not evict another.
func (r *Registry) prepare(names []string) error {
	distinct := slices.Compact(slices.Sorted(slices.Values(names)))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.maxLoaded > 0 && len(distinct) > r.maxLoaded {
		return refuseTooMany(len(distinct), r.maxLoaded)
	}
	for _, name := range distinct {
		if e := r.loaded[name]; e != nil {
			r.touch(e)
		}
	}
	return nil
}

func (r *Registry) touch(e *entry) {
	r.clock++
	e.used = r.clock
}
