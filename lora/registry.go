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
// A name that was loaded once stays known: a request for it after it was
// evicted or unloaded loads it again from where it last came from. This is what
// clients of SGLang rely on. How many names are known is bounded (see names),
// and so is how many adapters host memory has (see room).
type Registry struct {
	read             func(name, path string) (*Adapter, error)
	slots, maxLoaded int
	oldestFirst      bool // evict in order of loading, not of use

	turn    chan struct{} // full while somebody makes room
	changed chan struct{} // tells him to look again

	mu      sync.Mutex
	onFree  func(*Adapter)
	loaded  map[string]*entry
	loading map[string]*loading
	names   names
	clock   uint64
	held    Held
}

// Held is what adapters take of the host's memory, those included that have lost their name and not yet their last user.
type Held struct {
	Adapters int
	Bytes    int64
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

// loading is a name whose adapter is being read; done is closed at the end.
type loading struct {
	source
	done chan struct{}
}

// NewRegistry makes an empty registry. read loads an adapter; it is called
// without locks, for several names at once. At most slots-1 adapters can be
// pinned. At most maxLoaded adapters are in host memory, those that are being
// read or have lost their name and are in use still included: the least
// recently used one that is not pinned is unloaded for another, if possible one
// that nobody uses. 0 means no limit.
func NewRegistry(read func(name, path string) (*Adapter, error), slots, maxLoaded int) *Registry {
	return &Registry{
		read: read, slots: slots, maxLoaded: maxLoaded, onFree: func(*Adapter) {},
		turn: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		loaded: map[string]*entry{}, loading: map[string]*loading{}, names: newNames(),
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

// Held tells what adapters take of the host's memory.
func (r *Registry) Held() Held {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

// Load reads an adapter and registers it under a name. When ctx ends meanwhile the name is as it was, though another
// adapter may have been evicted.
func (r *Registry) Load(ctx context.Context, name, path string, pinned bool) error {
	if len(name) > maxNameBytes {
		return refuseName(name)
	}
	from := source{path, pinned}
	err := r.do(ctx, func(turn bool) (bool, *loading, error) { return r.take(name, from, turn) })
	if err != nil {
		return err
	}
	_, err = r.fill(ctx, name, 0)
	return err
}

// take is the attempt to claim a name for a load.
func (r *Registry) take(name string, from source, turn bool) (done bool, behind *loading, err error) {
	switch {
	case r.loaded[name] != nil || r.loading[name] != nil:
		return false, nil, refuseLoaded(name)
	case from.pinned && r.pinned(nil) >= r.slots-1:
		return false, nil, refusePinned(name)
	case !r.fits(1, nil):
		return false, nil, refuseEviction()
	case !turn || !r.room(1, nil):
		return false, nil, nil
	}
	r.claim(name, from)
	return true, nil, nil
}

// claim reserves a name, and a place, for an adapter that is about to be read.
func (r *Registry) claim(name string, from source) {
	r.loading[name] = &loading{source: from, done: make(chan struct{})}
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
	from := r.claimed(name)
	var adapter *Adapter
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if adapter != nil {
			e = r.register(adapter, from, refs)
		}
		r.unclaim(name)
	}()
	a, err := r.read(name, from.path)
	if err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("lora: load %q: %w", name, err)
	}
	a.Pinned = from.pinned
	adapter = a
	return nil, nil
}

// claimed is where the adapter of a claimed name is to come from.
func (r *Registry) claimed(name string) source {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loading[name].source
}

func (r *Registry) register(a *Adapter, from source, refs int) *entry {
	for _, e := range r.loaded {
		if e.adapter.Path == from.path {
			slog.Warn("lora: one path under two names", "path", from.path, "adapter", e.adapter.Name, "and", a.Name)
			break
		}
	}
	r.clock++
	e := &entry{adapter: a, refs: refs, since: r.clock, used: r.clock, freed: make(chan struct{})}
	r.loaded[a.Name] = e
	r.names.found(a.Name, from)
	r.held.Adapters++
	r.held.Bytes += a.Bytes()
	return e
}

// Unload takes an adapter's name away and waits until its last user is gone and
// it is freed. When ctx ends first the adapter is freed later all the same.
func (r *Registry) Unload(ctx context.Context, name string) error {
	e, err := r.remove(name)
	if err != nil {
		return err
	}
	if err := wait(ctx, e.freed); err != nil {
		return fmt.Errorf("lora: unload %q: waiting for the requests that use it: %w", name, err)
	}
	return nil
}

func (r *Registry) remove(name string) (*entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.loaded[name]
	if e == nil {
		return nil, refuseUnload(name, r.loadedNames())
	}
	r.retire(e)
	r.names.lost(name, r.names.unloaded)
	return e, nil
}

// retire takes an adapter's name away; it is freed now or by the last release.
func (r *Registry) retire(e *entry) {
	delete(r.loaded, e.adapter.Name)
	e.retired = true
	r.change()
	r.freeIfUnused(e)
}

// letGo takes references back.
func (r *Registry) letGo(e *entry, refs int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.refs -= refs; e.refs == 0 {
		r.change()
	}
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

func (r *Registry) inOrder() []*entry {
	list := make([]*entry, 0, len(r.loaded))
	for _, e := range r.loaded {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *entry) int { return cmp.Compare(a.since, b.since) })
	return list
}

func (r *Registry) loadedNames() []string {
	var names []string
	for _, e := range r.inOrder() {
		names = append(names, e.adapter.Name)
	}
	return names
}
