package lora

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// twin is a registry in the simplest terms: a list in order of use. An operation that would have to wait for room is
// given up.
type twin struct {
	slots, maxLoaded int
	next             uint64
	loaded           []twinAdapter // least recently used first
	known            map[string]twinName
	oldestFirst      bool
	held             map[uint64]int
	freed            map[uint64]int
}

type twinAdapter struct {
	name, path string
	id         uint64
	pinned     bool
}

type twinName struct {
	source
	unloaded bool
}

// outcome is what an operation comes to.
type outcome int

const (
	done outcome = iota
	refused
	waits // for room
)

func (w *twin) index(name string) int {
	return slices.IndexFunc(w.loaded, func(a twinAdapter) bool { return a.name == name })
}

// inMemory counts the adapters that take a place.
func (w *twin) inMemory() int { return int(w.next) - len(w.freed) }

// pinned counts the pinned adapters but for those in except.
func (w *twin) pinned(except []string) int {
	n := 0
	for _, a := range w.loaded {
		if a.pinned && !slices.Contains(except, a.name) {
			n++
		}
	}
	return n
}

// room evicts until n adapters have places.
func (w *twin) room(n int, keep []string) bool {
	for w.inMemory()+n > w.maxLoaded {
		evictable := func(a twinAdapter) bool { return !a.pinned && !slices.Contains(keep, a.name) }
		victim := slices.IndexFunc(w.loaded, func(a twinAdapter) bool { return evictable(a) && w.held[a.id] == 0 })
		if victim < 0 {
			victim = slices.IndexFunc(w.loaded, evictable)
			leaving := w.inMemory() - len(w.loaded)
			if victim < 0 || leaving >= w.inMemory()+n-w.maxLoaded {
				return false
			}
		}
		w.remove(victim)
	}
	return true
}

func (w *twin) load(name string, from source, replace bool) outcome {
	was, known := w.known[name]
	replace = replace || known && was.unloaded && was.path != from.path
	others := w.pinned([]string{name})
	if w.index(name) >= 0 && !replace || from.pinned && others >= w.slots-1 || others+1 > w.maxLoaded {
		return refused
	}
	if i := w.index(name); i >= 0 && others+2 > w.maxLoaded {
		w.remove(i)
	}
	if !w.room(1, []string{name}) {
		return waits
	}
	if from.path == "bad" {
		return refused
	}
	if i := w.index(name); i >= 0 {
		w.remove(i)
	}
	w.add(name, from)
	w.known[name] = twinName{source: from}
	return done
}

func (w *twin) add(name string, from source) {
	w.next++
	w.loaded = append(w.loaded, twinAdapter{name, from.path, w.next, from.pinned})
}

// unload says whether there was something to unload.
func (w *twin) unload(name string) bool {
	is, known := w.known[name]
	i := w.index(name)
	if i < 0 && (!known || is.unloaded) {
		return false
	}
	if i >= 0 {
		w.remove(i)
	}
	w.known[name] = twinName{is.source, true}
	return true
}

func (w *twin) remove(i int) {
	id := w.loaded[i].id
	w.loaded = slices.Delete(w.loaded, i, i+1)
	if w.held[id] == 0 {
		w.freed[id]++
	}
}

// acquire refers to some adapters. It returns their ids.
func (w *twin) acquire(names []string) ([]uint64, outcome) {
	distinct := slices.Compact(slices.Sorted(slices.Values(names)))
	if len(distinct) > w.maxLoaded {
		return nil, refused
	}
	pins := w.pinned(nil)
	var missing []string
	for _, name := range distinct {
		from, known := w.known[name]
		switch i := w.index(name); {
		case i >= 0 && w.oldestFirst:
		case i >= 0:
			a := w.loaded[i]
			w.loaded = append(slices.Delete(w.loaded, i, i+1), a)
		case !known:
			return nil, refused
		default:
			missing = append(missing, name)
			if from.pinned {
				pins++
			}
		}
	}
	if len(missing) > 0 {
		if reloads := pins - w.pinned(nil); reloads > 0 && pins > w.slots-1 || w.pinned(distinct)+len(distinct) > w.maxLoaded {
			return nil, refused
		}
		if !w.room(len(missing), distinct) {
			return nil, waits
		}
	}
	for _, name := range missing {
		w.add(name, w.known[name].source)
	}
	var ids []uint64
	for _, name := range names {
		id := w.loaded[w.index(name)].id
		w.held[id]++
		ids = append(ids, id)
	}
	return ids, done
}

func (w *twin) release(id uint64) {
	w.held[id]--
	if w.held[id] == 0 && !slices.ContainsFunc(w.loaded, func(a twinAdapter) bool { return a.id == id }) {
		w.freed[id]++
	}
}

// TestRegistryModel runs random operations on a registry and on its twin.
func TestRegistryModel(t *testing.T) {
	rnd := random(t)
	synctest.Test(t, func(t *testing.T) {
		met := map[outcome]int{}
		for range 40 {
			modelRun(t, rnd, met)
		}
		require.Len(t, met, 3)
		t.Logf("%d operations were done, %d refused, %d given up", met[done], met[refused], met[waits])
	})
}

// attend runs an operation and gives it up if it does not end by itself.
func attend(t *testing.T, f func(ctx context.Context) error) (outcome, error) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	synctest.Wait()
	select {
	case err := <-ended:
		if err != nil {
			return refused, err
		}
		return done, nil
	default:
		cancel()
		return waits, <-ended
	}
}

func modelRun(t *testing.T, rnd *rand.Rand, met map[outcome]int) {
	slots, maxLoaded := 1+rnd.IntN(4), 1+rnd.IntN(5)
	s, r := newShelf(slots, maxLoaded)
	oldestFirst := rnd.IntN(2) == 0
	if oldestFirst {
		r.EvictOldest()
	}
	w := &twin{slots: slots, maxLoaded: maxLoaded, oldestFirst: oldestFirst, known: map[string]twinName{}, held: map[uint64]int{}, freed: map[uint64]int{}}
	var refs []*Ref
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	name := func() string { return fmt.Sprint("adapter ", rnd.IntN(7)) }
	for range 300 {
		switch name := name(); rnd.IntN(8) {
		case 0:
			from := source{name + []string{" there", " elsewhere"}[rnd.IntN(2)], rnd.IntN(3) == 0}
			if rnd.IntN(4) == 0 {
				from.path = "bad"
			}
			load, replace := r.Load, rnd.IntN(2) == 0
			if replace {
				load = r.Replace
			}
			got, err := attend(t, func(ctx context.Context) error { return load(ctx, name, from.path, from.pinned) })
			require.Equal(t, w.load(name, from, replace), got, "%v", err)
			met[got]++
		case 1:
			err := r.Unload(gone, name)
			require.Equal(t, w.unload(name), !errors.Is(err, ErrRefused))
		case 2, 3, 4:
			names := []string{name}
			for rnd.IntN(3) == 0 {
				names = append(names, fmt.Sprint("adapter ", rnd.IntN(7)))
			}
			var got []*Ref
			is, err := attend(t, func(ctx context.Context) (err error) { got, err = r.AcquireAll(ctx, names); return err })
			ids, want := w.acquire(names)
			require.Equal(t, want, is, "%v: %v", names, err)
			require.Equal(t, is == refused, errors.Is(err, ErrRefused))
			met[is]++
			for i, ref := range got {
				require.Equal(t, ids[i], ref.Adapter().ID)
			}
			refs = append(refs, got...)
		default:
			if len(refs) > 0 {
				i := rnd.IntN(len(refs))
				w.release(refs[i].Adapter().ID)
				refs[i].Release()
				refs = slices.Delete(refs, i, i+1)
			}
		}
		synctest.Wait()
		var wanted []Listing
		for _, a := range w.loaded {
			wanted = append(wanted, Listing{a.name, a.path, 1, a.pinned, w.held[a.id]})
		}
		require.ElementsMatch(t, wanted, r.List())
		require.Equal(t, w.freed, s.freed)
		inUse := 0
		for _, users := range w.held {
			inUse += min(users, 1)
		}
		require.Equal(t, Held{w.inMemory(), int64(w.inMemory()) * testBytes, inUse}, r.Held())
		require.LessOrEqual(t, w.inMemory(), maxLoaded)
	}
}
