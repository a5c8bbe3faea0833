package lora

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// pathOf is where the adapter that a request gets comes from.
func pathOf(t *testing.T, r *Registry, name string) string {
	ref, err := acquire(r, name)
	require.NoError(t, err)
	defer ref.Release()
	return ref.Adapter().Path
}

// TestRegistryReplace gives a name to another adapter while requests use the old one.
func TestRegistryReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newShelf(4, 0)
		require.NoError(t, r.Load(t.Context(), "a", "old", false))
		old, err := acquire(r, "a")
		require.NoError(t, err)
		s.delay = time.Second
		ended := make(chan error)
		go func() { ended <- r.Replace(t.Context(), "a", "new", true) }()
		synctest.Wait()
		require.Equal(t, "old", pathOf(t, r, "a"), "until the new one is there")
		require.ErrorContains(t, r.Load(t.Context(), "a", "other", false), "already loaded")
		require.NoError(t, <-ended)
		require.Equal(t, "new", pathOf(t, r, "a"))
		require.Equal(t, []Listing{{"a", "new", 1, true, 0}}, r.List())
		require.Equal(t, 2, r.Held().Adapters)
		require.False(t, s.wasFreed(old.Adapter().ID))
		old.Release()
		synctest.Wait()
		require.True(t, s.wasFreed(1))

		require.ErrorIs(t, r.Replace(t.Context(), "a", "bad", false), errBad)
		require.Equal(t, "new", pathOf(t, r, "a"), "a failed replacement leaves what there was")
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, r.Replace(ctx, "a", "late", false), context.DeadlineExceeded)
		require.Equal(t, "new", pathOf(t, r, "a"))
		require.NoError(t, r.Replace(t.Context(), "b", "other", false), "nothing need be there")
		require.Equal(t, "other", pathOf(t, r, "b"))
	})
}

// TestRegistryUnloadThenLoad is what clients do that know no replacement. Whatever requests do in between, the load of
// another path succeeds, and that of the same path is refused as SGLang refuses it.
func TestRegistryUnloadThenLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newShelf(4, 2)
		load := func(path string) error { return r.Load(t.Context(), "a", path, false) }
		unload := func() { require.NoError(t, r.Unload(t.Context(), "a")) }
		require.NoError(t, load("one"))
		unload()
		require.ErrorContains(t, r.Unload(t.Context(), "a"), "does not exist")
		require.Equal(t, "one", pathOf(t, r, "a"))
		require.ErrorContains(t, load("one"), "already loaded")
		require.NoError(t, load("two"))
		require.ErrorContains(t, load("three"), "already loaded", "it was not unloaded since")
		require.Equal(t, "two", pathOf(t, r, "a"))

		// A request has the old one loaded again while the new one is asked for.
		unload()
		s.delay = time.Second
		asked := make(chan string)
		go func() { asked <- pathOf(t, r, "a") }()
		synctest.Wait()
		require.NoError(t, load("three"))
		require.Equal(t, "two", <-asked)
		require.Equal(t, "three", pathOf(t, r, "a"))

		// One that was evicted is unloaded all the same, once.
		for _, name := range []string{"b", "c"} {
			require.NoError(t, r.Load(t.Context(), name, name, false))
		}
		require.NotContains(t, loadedNames(r), "a")
		unload()
		require.ErrorContains(t, r.Unload(t.Context(), "a"), "does not exist")
		require.Equal(t, "three", pathOf(t, r, "a"))
		require.NoError(t, load("four"))

		// Without unloading it, it is its client's, evicted or not.
		require.Equal(t, "b", pathOf(t, r, "b"))
		require.Equal(t, "c", pathOf(t, r, "c"))
		require.Equal(t, "four", pathOf(t, r, "a"))
		require.ErrorContains(t, load("five"), "already loaded")
	})
}

// TestRegistryReplaceWithoutRoom has place for one adapter only: the old one goes first.
func TestRegistryReplaceWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := newShelf(4, 1)
		require.NoError(t, r.Load(t.Context(), "a", "old", false))
		old, err := acquire(r, "a")
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { ended <- r.Replace(t.Context(), "a", "new", false) }()
		asked := make(chan string)
		synctest.Wait()
		go func() { asked <- pathOf(t, r, "a") }()
		synctest.Wait()
		require.Empty(t, ended)
		old.Release()
		require.NoError(t, <-ended)
		require.Equal(t, "new", <-asked)
		require.Equal(t, 1, r.Held().Adapters)
	})
}

// TestRegistrySwapsUnderRequests swaps adapters both ways while many requests name them. No swap and no request fails;
// a request that comes after a swap gets the new adapter, or a newer one.
func TestRegistrySwapsUnderRequests(t *testing.T) {
	silence(t)
	for _, places := range []int{0, 2, 4} {
		_, r := newShelf(4, places)
		var versions [3]atomic.Int64
		name := func(i int) string { return fmt.Sprint("adapter ", i) }
		path := func(version int64) string { return fmt.Sprintf("version %06d", version) }
		for i := range versions {
			require.NoError(t, r.Load(t.Context(), name(i), path(0), false))
		}
		stop := make(chan struct{})
		var requests, swaps sync.WaitGroup
		for worker := range 6 {
			requests.Go(func() {
				for i := worker; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					k := i % len(versions)
					least := path(versions[k].Load())
					ref, err := acquire(r, name(k))
					if err != nil {
						t.Errorf("a request failed: %v", err)
						return
					}
					if got := ref.Adapter().Path; got < least {
						t.Errorf("got %s after %s was loaded", got, least)
					}
					ref.Release()
				}
			})
		}
		for k := range versions {
			swaps.Go(func() {
				for version := int64(1); version <= 300; version++ {
					var err error
					if version%2 == 0 {
						err = r.Replace(context.Background(), name(k), path(version), false)
					} else if err = r.Unload(context.Background(), name(k)); err == nil {
						err = r.Load(context.Background(), name(k), path(version), false)
					}
					if err != nil {
						t.Errorf("a swap was lost: %v", err)
					}
					versions[k].Store(version)
				}
			})
		}
		swaps.Wait()
		close(stop)
		requests.Wait()
	}
}
