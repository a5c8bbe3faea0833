package lora

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
)

// Registry knows the adapters that requests may name. It is safe for use by any
// goroutine. An adapter that is unloaded or evicted loses its name at once and
// is freed when the last request that uses it has let go of it.
//
// A name that was ever loaded stays known: a request for it after it was
// evicted or unloaded loads it again from where it last came from. This is what
// clients of SGLang rely on.
type Registry struct {
	read             func(name, path string) (*Adapter, error)
	slots, maxLoaded int
	oldestFirst      bool // evict in order of loading, not of use

	mu      sync.Mutex
	onFree  func(*Adapter)
	loaded  map[string]*entry
	loading map[string]*loading
	known   map[string]source // every name that was ever loaded
	clock   uint64
	held    Held
}

// entry is an adapter from its registration until it is freed.
type entry struct {
	adapter *Adapter
	refs    int
	since   uint64 // clock at registration
	used    uint64 // clock at the last acquisition
	retired bool   // has lost its name
	freed   chan struct{}
}

// Held is what adapters take of the host's memory, those included that have lost their name and not yet their last user.
type Held struct {
	Adapters int
	Bytes    int64
}

// Held tells what adapters take of the host's memory.
func (r *Registry) Held() Held {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

// loading is a load in progress; done is closed at its end.
type loading struct {
	pinned bool
	done   chan struct{}
}

type source struct {
	path   string
	pinned bool
}

// NewRegistry makes an empty registry. read loads an adapter; it is called
// without locks, for several names at once. At most slots-1 adapters can be
// pinned. When more than maxLoaded adapters would be loaded, the least recently
// used one that is not pinned is unloaded; 0 means no limit.
func NewRegistry(read func(name, path string) (*Adapter, error), slots, maxLoaded int) *Registry {
	return &Registry{
		read: read, slots: slots, maxLoaded: maxLoaded, onFree: func(*Adapter) {},
		loaded: map[string]*entry{}, loading: map[string]*loading{}, known: map[string]source{},
	}
}

// EvictOldest makes the adapter that was loaded first the first to be unloaded, however lately it was used. It is to be
// called before anything is loaded.
func (r *Registry) EvictOldest() { r.oldestFirst = true }

// OnFree sets what is called, once and on a goroutine of its own, when an
// adapter has lost its name and its last user.
func (r *Registry) OnFree(f func(*Adapter)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onFree = f
}

// Load reads an adapter and registers it under a name. When ctx ends meanwhile
// nothing has changed.
func (r *Registry) Load(ctx context.Context, name, path string, pinned bool) error {
	from := source{path, pinned}
	if err := r.begin(name, from); err != nil {
		return err
	}
	_, err := r.load(ctx, name, from, 0)
	return err
}

// Unload takes an adapter's name away and waits until its last user is gone and
// it is freed. When ctx ends first the adapter is freed later all the same.
func (r *Registry) Unload(ctx context.Context, name string) error {
	e, err := r.remove(name)
	if err != nil {
		return err
	}
	select {
	case <-e.freed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("lora: unload %q: waiting for the requests that use it: %w", name, context.Cause(ctx))
	}
}

func (r *Registry) remove(name string) (*entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.loaded[name]
	if e == nil {
		return nil, refuseUnload(name, r.names())
	}
	r.retire(e)
	return e, nil
}

// Listing is what a list of adapters says of one.
type Listing struct {
	Name, Path string
	Rank       int
	Pinned     bool
	Users      int // requests that hold it
}

// List lists the loaded adapters in order of loading.
func (r *Registry) List() []Listing {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Listing, 0, len(r.loaded))
	for _, e := range r.inOrder() {
		a := e.adapter
		list = append(list, Listing{Name: a.Name, Path: a.Path, Rank: a.Rank, Pinned: a.Pinned, Users: e.refs})
	}
	return list
}

// begin reserves a name for a load.
func (r *Registry) begin(name string, from source) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.beginLocked(name, from)
}

func (r *Registry) beginLocked(name string, from source) error {
	if r.loaded[name] != nil || r.loading[name] != nil {
		return refuseLoaded(name)
	}
	if from.pinned && r.pinned() >= r.slots-1 {
		return refusePinned(name)
	}
	if r.full() && r.victim() == nil {
		return refuseEviction()
	}
	r.loading[name] = &loading{pinned: from.pinned, done: make(chan struct{})}
	return nil
}

// load reads an adapter whose name is reserved and registers it with its first
// references.
func (r *Registry) load(ctx context.Context, name string, from source, refs int) (*entry, error) {
	defer r.end(name)
	adapter, err := r.read(name, from.path)
	if err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("lora: load %q: %w", name, err)
	}
	adapter.Pinned = from.pinned

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full() {
		victim := r.victim()
		if victim == nil {
			return nil, refuseEviction()
		}
		slog.Info("lora: evict", "adapter", victim.adapter.Name, "for", name)
		r.retire(victim)
	}
	for _, e := range r.loaded {
		if e.adapter.Path == from.path {
			slog.Warn("lora: one path under two names", "path", from.path, "adapter", e.adapter.Name, "and", name)
			break
		}
	}
	r.clock++
	e := &entry{adapter: adapter, refs: refs, since: r.clock, used: r.clock, freed: make(chan struct{})}
	r.loaded[name] = e
	r.known[name] = from
	r.held.Adapters++
	r.held.Bytes += adapter.Bytes()
	return e, nil
}

// end gives up a reserved name. An adapter that was loaded is registered by
// then, so the name is never free in between.
func (r *Registry) end(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.loading[name].done)
	delete(r.loading, name)
}

// retire takes an adapter's name away; it is freed now or by the last release.
func (r *Registry) retire(e *entry) {
	delete(r.loaded, e.adapter.Name)
	e.retired = true
	r.freeIfUnused(e)
}

// freeIfUnused starts a goroutine because OnFree may wait for the very
// goroutine that released the adapter.
func (r *Registry) freeIfUnused(e *entry) {
	if !e.retired || e.refs > 0 {
		return
	}
	r.held.Adapters--
	r.held.Bytes -= e.adapter.Bytes()
	onFree := r.onFree
	go func() {
		onFree(e.adapter)
		close(e.freed)
	}()
}

func (r *Registry) full() bool { return r.maxLoaded > 0 && len(r.loaded) >= r.maxLoaded }

// victim is the adapter to evict, nil when all are pinned.
func (r *Registry) victim() *entry {
	age := func(e *entry) uint64 {
		if r.oldestFirst {
			return e.since
		}
		return e.used
	}
	var first *entry
	for _, e := range r.loaded {
		if !e.adapter.Pinned && (first == nil || age(e) < age(first)) {
			first = e
		}
	}
	return first
}

// pinned counts the pinned adapters, loads in progress included.
func (r *Registry) pinned() int {
	n := 0
	for _, e := range r.loaded {
		if e.adapter.Pinned {
			n++
		}
	}
	for _, l := range r.loading {
		if l.pinned {
			n++
		}
	}
	return n
}

func (r *Registry) inOrder() []*entry {
	list := make([]*entry, 0, len(r.loaded))
	for _, e := range r.loaded {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *entry) int { return cmp.Compare(a.since, b.since) })
	return list
}

func (r *Registry) names() []string {
	var names []string
	for _, e := range r.inOrder() {
		names = append(names, e.adapter.Name)
	}
	return names
}
