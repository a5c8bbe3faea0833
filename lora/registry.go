package lora

import (
	"cmp"
	"slices"
	"sync"
)

// Registry knows the adapters that requests may name. It is safe for use by any
// goroutine. An adapter that is unloaded or evicted loses its name at once and
// is freed when the last request that uses it has let go of it.
//
// A name that was loaded once stays known: a request for it after it was
// evicted or unloaded loads it again from where it last came from. This is what
// clients of SGLang rely on. How many names are known is bounded (names.go), and
// so is how many adapters host memory has (room.go).
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
	InUse    int // of them, by requests
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

// loading is a name whose adapter is being read.
type loading struct {
	*record
	asked bool          // by a client, not for a request
	done  chan struct{} // closed at the end
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

// Knows says whether requests may ask for an adapter of the name: it is loaded, being loaded, or remembered.
func (r *Registry) Knows(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loaded[name] != nil || r.loading[name] != nil || r.names.records[name] != nil
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
