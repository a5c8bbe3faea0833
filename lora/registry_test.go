package lora

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var errBad = errors.New("bad path")

// testBytes is what an adapter from the shelf takes.
const testBytes = 10

// shelf stands in for a disk full of adapters and keeps account of what was
// read and freed.
type shelf struct {
	mu    sync.Mutex
	next  uint64
	freed map[uint64]int
	delay time.Duration
}

func (s *shelf) read(name, path string) (*Adapter, error) {
	time.Sleep(s.delay)
	if path == "bad" {
		return nil, errBad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return &Adapter{Name: name, Path: path, ID: s.next, Rank: 1, Sites: []Weights{{A: make([]byte, testBytes)}}}, nil
}

func (s *shelf) free(a *Adapter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.freed[a.ID]++
}

func (s *shelf) wasFreed(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.freed[id] > 0
}

func newShelf(slots, maxLoaded int) (*shelf, *Registry) {
	s := &shelf{freed: map[uint64]int{}}
	r := NewRegistry(s.read, slots, maxLoaded)
	r.OnFree(s.free)
	return s, r
}

// acquire refers to one adapter.
func acquire(r *Registry, name string) (*Ref, error) {
	refs, err := r.AcquireAll(context.Background(), []string{name})
	if err != nil {
		return nil, err
	}
	return refs[0], nil
}

func loadedNames(r *Registry) []string {
	var names []string
	for _, l := range r.List() {
		names = append(names, l.Name)
	}
	return names
}

func TestRegistryMessages(t *testing.T) {
	_, r := newShelf(3, 3)
	ctx := t.Context()
	load := func(name string, pinned bool) error { return r.Load(ctx, name, "path of "+name, pinned) }
	refused := func(err error, message string) {
		t.Helper()
		require.EqualError(t, err, message)
		require.ErrorIs(t, err, ErrRefused)
	}
	ask := func(name string) error { _, err := acquire(r, name); return err }

	refused(ask("a"), "Got LoRA adapter that has never been loaded: a\nAll loaded adapters: dict_keys([]).")
	require.NoError(t, load("b", true))
	require.NoError(t, load("a", true))
	refused(load("a", false), "Failed to load LoRA adapter a because it is already loaded")
	err := load("c", true)
	require.ErrorContains(t, err, "Failed to load LoRA adapter c as a pinned adapter. It is not allowed to pin all slots in the LoRA memory pool to avoid starvation")
	refused(ask("c"), "Got LoRA adapter that has never been loaded: c\nAll loaded adapters: dict_keys(['a', 'b']).")
	refused(ask(strings.Repeat("é", 513)), "Got LoRA adapter that has never been loaded: "+strings.Repeat("é", 512)+"...\nAll loaded adapters: dict_keys(['a', 'b']).")
	refused(r.Unload(ctx, "c"), "LoRA with name c does not exist. Loaded LoRAs: odict_keys(['b', 'a'])")
	require.ErrorIs(t, r.Load(ctx, "c", "bad", false), errBad)
	require.Equal(t, []Listing{{"b", "path of b", 1, true, 0}, {"a", "path of a", 1, true, 0}}, r.List())
	_, err = r.AcquireAll(t.Context(), []string{"a", "", "b", "c", "a"})
	refused(err, "Received request with 4 unique loras requested but max loaded loras is 3")
	refused(Disabled("x"), "LoRA adapter 'x' was requested, but LoRA is not enabled. Please launch the server with --enable-lora flag and preload adapters using --lora-paths or /load_lora_adapter endpoint.")

	_, r = newShelf(4, 2)
	require.NoError(t, load("a", true))
	require.NoError(t, load("b", true))
	require.ErrorContains(t, load("c", false), "Didn't find any LoRA adapters when trying to evict LRU LoRA adapter.")
	require.Equal(t, []string{"a", "b"}, loadedNames(r))
}

// TestRegistryReload loads names again that were unloaded or evicted.
func TestRegistryReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newShelf(4, 2)
		for _, name := range []string{"a", "b", "c"} {
			require.NoError(t, r.Load(t.Context(), name, "path of "+name, false))
		}
		require.Equal(t, []string{"b", "c"}, loadedNames(r))
		for name, known := range map[string]bool{"a": true, "b": true, "never": false, "": false} {
			require.Equal(t, known, r.Knows(name), name)
		}
		synctest.Wait()
		require.True(t, s.wasFreed(1))

		// b is the least recently used, but the request needs it.
		refs, err := r.AcquireAll(t.Context(), []string{"a", "b", "a"})
		require.NoError(t, err)
		require.Equal(t, []string{"b", "a"}, loadedNames(r))
		require.Equal(t, uint64(4), refs[0].Adapter().ID, "a new id")
		require.Equal(t, "path of a", refs[0].Adapter().Path)
		require.Equal(t, uint64(2), refs[1].Adapter().ID)
		require.Same(t, refs[0].Adapter(), refs[2].Adapter())
		base, err := r.AcquireAll(t.Context(), []string{"", "b"})
		require.NoError(t, err)
		require.Nil(t, base[0])
		for _, ref := range append(refs, base...) {
			ref.Release()
		}

		require.NoError(t, r.Unload(t.Context(), "b"))
		ref, err := acquire(r, "b")
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, loadedNames(r))
		ref.Release()

		// All or none: a is let go of again.
		_, err = r.AcquireAll(t.Context(), []string{"a", "never"})
		require.ErrorContains(t, err, "never been loaded: never")
		require.NoError(t, r.Unload(t.Context(), "a"))

		require.NoError(t, r.Unload(t.Context(), "b"))
		r.names.records["b"].path = "bad"
		_, err = acquire(r, "b")
		require.EqualError(t, err, "Failed to implicitly load LoRA adapter b: bad path")
		require.ErrorIs(t, err, ErrRefused)
		require.ErrorIs(t, err, errBad)
	})
}

func TestRegistryDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newShelf(4, 0)
		require.NoError(t, r.Load(t.Context(), "a", "p", false))
		first, err := acquire(r, "a")
		require.NoError(t, err)
		second, err := acquire(r, "a")
		require.NoError(t, err)

		done := make(chan error)
		go func() { done <- r.Unload(t.Context(), "a") }()
		synctest.Wait()
		require.Empty(t, loadedNames(r), "the name goes first")
		first.Release()
		first.Release() // counts once
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("unloaded while in use")
		default:
		}
		require.False(t, s.wasFreed(1))
		second.Release()
		require.NoError(t, <-done)
		require.True(t, s.wasFreed(1))
	})
}

// TestRegistryDrainCancelled gives up waiting; the adapter is freed all the same.
func TestRegistryDrainCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newShelf(4, 0)
		require.NoError(t, r.Load(t.Context(), "a", "p", false))
		ref, err := acquire(r, "a")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, r.Unload(ctx, "a"), context.DeadlineExceeded)
		require.ErrorContains(t, r.Unload(t.Context(), "a"), "does not exist")

		require.NoError(t, r.Load(t.Context(), "a", "p", false))
		again, err := acquire(r, "a")
		require.NoError(t, err)
		require.NotEqual(t, ref.Adapter().ID, again.Adapter().ID)
		ref.Release()
		synctest.Wait()
		require.True(t, s.wasFreed(1))
		require.False(t, s.wasFreed(2))
		again.Release()
		require.NoError(t, r.Unload(t.Context(), "a"))
		require.Equal(t, map[uint64]int{1: 1, 2: 1}, s.freed)
	})
}

// TestRegistrySlowLoad does other things while a load takes its time.
func TestRegistrySlowLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newShelf(2, 0)
		require.NoError(t, r.Load(t.Context(), "quick", "p", false))
		s.delay = time.Minute
		ctx, cancel := context.WithCancel(t.Context())
		begun := time.Now()
		var group sync.WaitGroup
		group.Go(func() { require.NoError(t, r.Load(t.Context(), "slow", "p", true)) })
		group.Go(func() { require.ErrorIs(t, r.Load(ctx, "dropped", "p", false), context.Canceled) })
		synctest.Wait()
		cancel()
		require.ErrorContains(t, r.Load(t.Context(), "slow", "p", false), "already loaded")
		require.True(t, r.Knows("slow"), "requests may wait for it")
		require.ErrorContains(t, r.Load(t.Context(), "other", "p", true), "starvation", "a load in progress counts")
		ref, err := acquire(r, "quick")
		require.NoError(t, err)
		ref.Release()
		require.NoError(t, r.Unload(t.Context(), "quick"))
		require.Zero(t, time.Since(begun), "nothing waits for the load")

		// Requests for the name wait for its load, and do not start another.
		for range 3 {
			group.Go(func() {
				ref, err := acquire(r, "slow")
				require.NoError(t, err)
				require.LessOrEqual(t, ref.Adapter().ID, uint64(3))
				ref.Release()
			})
		}
		group.Wait()
		require.Equal(t, time.Minute, time.Since(begun))
		require.Equal(t, []string{"slow"}, loadedNames(r))
		require.ErrorContains(t, func() error { _, err := acquire(r, "dropped"); return err }(), "never been loaded")
		require.False(t, r.Knows("dropped"))
	})
}

func TestRegistryReaderPanics(t *testing.T) {
	r := NewRegistry(func(string, string) (*Adapter, error) { panic("reader") }, 2, 0)
	for range 2 {
		require.PanicsWithValue(t, "reader", func() { _ = r.Load(t.Context(), "a", "p", false) }, "the name is not blocked")
	}
}

// TestRegistryReloadFails has one of several adapters that cannot be read again, or whose reader panics: the request holds
// nothing then, and whatever was claimed for it is free.
func TestRegistryReloadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newShelf(4, 5)
		all := []string{"a", "b", "c", "d"}
		for _, name := range all {
			require.NoError(t, r.Load(t.Context(), name, name, false))
		}
		for _, name := range all[1:] { // a stays
			require.NoError(t, r.Unload(t.Context(), name))
		}
		r.names.records["c"].path = "bad"
		for range 2 {
			_, err := r.AcquireAll(t.Context(), all)
			require.EqualError(t, err, "Failed to implicitly load LoRA adapter c: bad path")
		}
		read := r.read
		r.read = func(name, path string) (*Adapter, error) {
			if name == "c" {
				panic("reader")
			}
			return read(name, path)
		}
		for range 2 {
			require.PanicsWithValue(t, "reader", func() { _, _ = r.AcquireAll(t.Context(), all) })
		}
		require.Equal(t, []string{"a", "b"}, loadedNames(r), "what was read before is loaded")
		for _, l := range r.List() {
			require.Zero(t, l.Users)
			require.NoError(t, r.Unload(t.Context(), l.Name))
		}
		require.Zero(t, r.Held())
		require.Empty(t, r.loading)
		synctest.Wait()
		require.Len(t, s.freed, int(s.next))
	})
}

// TestRegistryFreeInUse lets OnFree wait for the goroutine that releases.
func TestRegistryFreeInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := newShelf(2, 0)
		work := make(chan func())
		r.OnFree(func(*Adapter) {
			done := make(chan struct{})
			work <- func() { close(done) }
			<-done
		})
		require.NoError(t, r.Load(t.Context(), "a", "p", false))
		ref, err := acquire(r, "a")
		require.NoError(t, err)
		unloaded := make(chan error)
		go func() { unloaded <- r.Unload(t.Context(), "a") }()
		synctest.Wait()
		ref.Release()
		(<-work)()
		require.NoError(t, <-unloaded)
	})
}

// TestRegistryStress uses a registry from many goroutines at once: no adapter is
// freed while it is in use, and each is freed once.
func TestRegistryStress(t *testing.T) {
	s, r := newShelf(3, 3) // pins leave one to evict, so whatever is read is registered
	var inUse [4096]atomic.Int32
	var misused atomic.Int32
	r.OnFree(func(a *Adapter) {
		if inUse[a.ID%4096].Load() != 0 {
			misused.Add(1)
		}
		s.free(a)
	})
	seed := random(t).Uint64()
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(worker)))
			for range 300 {
				name := fmt.Sprint(rnd.IntN(6))
				switch rnd.IntN(6) {
				case 0:
					_ = r.Load(context.Background(), name, name, rnd.IntN(4) == 0)
				case 1:
					_ = r.Unload(context.Background(), name)
				default:
					refs, err := r.AcquireAll(t.Context(), []string{name, fmt.Sprint(rnd.IntN(6))})
					if err != nil {
						continue
					}
					for _, ref := range refs {
						inUse[ref.Adapter().ID%4096].Add(1)
					}
					time.Sleep(time.Duration(rnd.IntN(50)) * time.Microsecond)
					for _, ref := range refs {
						inUse[ref.Adapter().ID%4096].Add(-1)
						ref.Release()
					}
				}
				if n := r.Held().Adapters; n > 3 {
					t.Errorf("%d adapters are held", n)
				}
			}
		})
	}
	group.Wait()
	for _, name := range loadedNames(r) {
		require.NoError(t, r.Unload(t.Context(), name))
	}
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.freed) == int(s.next)
	}, 10*time.Second, time.Millisecond)
	for id, n := range s.freed {
		require.Equal(t, 1, n, "adapter %d", id)
	}
	require.Zero(t, misused.Load())
}
