package lora

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// TestRegistryThousandAdapters has many more names than places: a name that was loaded once is found again, whichever
// adapters had to go for it, and no more are loaded than there are places.
func TestRegistryThousandAdapters(t *testing.T) {
	const names, places = 1000, 64
	for _, oldestFirst := range []bool{false, true} {
		s, r := newShelf(8, places)
		if oldestFirst {
			r.EvictOldest()
		}
		name := func(i uint64) string { return fmt.Sprint("adapter ", i) }
		for i := range uint64(names) {
			require.NoError(t, r.Load(t.Context(), name(i), "/"+name(i), i < 5))
		}
		require.Len(t, r.List(), places)
		rnd := random(t)
		popularity := rand.NewZipf(rnd, 1.5, 1, names-1)
		var group sync.WaitGroup
		for worker := range 8 {
			wanted := make([][]string, 300)
			for i := range wanted {
				wanted[i] = []string{name(popularity.Uint64()), name(rnd.Uint64N(names)), "", name(uint64(worker))}
			}
			group.Go(func() {
				for _, names := range wanted {
					refs, err := r.AcquireAll(t.Context(), names)
					if err != nil {
						t.Errorf("%v: %v", names, err)
						continue
					}
					for i, ref := range refs {
						if names[i] != "" && (ref.Adapter().Name != names[i] || ref.Adapter().Path != "/"+names[i] || s.wasFreed(ref.Adapter().ID)) {
							t.Errorf("asked for %q, got %q of %q, freed: %t", names[i], ref.Adapter().Name, ref.Adapter().Path, s.wasFreed(ref.Adapter().ID))
						}
						ref.Release()
					}
				}
			})
		}
		group.Wait()
		list := r.List()
		require.Len(t, list, places)
		pinned := 0
		for _, l := range list {
			require.Zero(t, l.Users)
			if l.Pinned {
				pinned++
			}
		}
		require.Equal(t, 5, pinned, "pinned adapters keep their places")
		require.Greater(t, s.next, uint64(names), "some were read again")
	}
}

// TestRegistryUnloadsBusyAdapters unloads an adapter that many requests hold, while more ask for the name: these get it
// anew, and every unload ends with its own adapter's last user.
func TestRegistryUnloadsBusyAdapters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newShelf(2, 0)
		require.NoError(t, r.Load(t.Context(), "a", "a", false))
		const rounds = 5
		var held [rounds][]*Ref
		var unloads [rounds]chan error
		for round := range rounds {
			for range 100 {
				ref, err := acquire(r, "a")
				require.NoError(t, err)
				held[round] = append(held[round], ref)
			}
			unloads[round] = make(chan error, 1)
			go func() { unloads[round] <- r.Unload(t.Context(), "a") }()
			synctest.Wait()
			require.Empty(t, unloads[round], "100 requests hold it")
			require.Empty(t, r.List())
		}
		for _, round := range []int{3, 0, 4, 1, 2} {
			id := held[round][0].Adapter().ID
			for _, ref := range held[round] {
				require.False(t, s.wasFreed(id))
				ref.Release()
			}
			require.NoError(t, <-unloads[round])
			require.True(t, s.wasFreed(id))
		}
	})
}
