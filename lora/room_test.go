package lora

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRegistryWaitsForRoom has every place taken by adapters in use. Who needs one gets it in order of arrival, as soon
// as any adapter is free.
func TestRegistryWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := newShelf(2, 2)
		for _, name := range []string{"c", "d", "a", "b"} {
			require.NoError(t, r.Load(t.Context(), name, name, false))
		}
		held, err := r.AcquireAll(t.Context(), []string{"a", "b"})
		require.NoError(t, err)
		order := make(chan *Ref, 3)
		var group sync.WaitGroup
		for _, name := range []string{"c", "d"} {
			group.Go(func() {
				ref, err := acquire(r, name)
				require.NoError(t, err)
				order <- ref
			})
			synctest.Wait()
		}
		require.Empty(t, order)
		require.Equal(t, []string{"b"}, loadedNames(r), "the less recently used one has lost its name")
		ctx, cancel := context.WithCancel(t.Context())
		given := make(chan error, 1)
		go func() { _, err := r.AcquireAll(ctx, []string{"a"}); given <- err }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-given, context.Canceled, "waiting can be given up")

		held[1].Release() // b, which kept its name, is free first
		synctest.Wait()
		c := <-order
		require.Equal(t, "c", c.Adapter().Name)
		require.Empty(t, order)
		require.Equal(t, 2, r.Held().Adapters)
		c.Release()
		synctest.Wait()
		d := <-order
		require.Equal(t, "d", d.Adapter().Name)
		held[0].Release()
		d.Release()
		group.Wait()
		require.Equal(t, []string{"d"}, loadedNames(r))
		require.Equal(t, Held{Adapters: 1, Bytes: testBytes}, r.Held())
	})
}

// TestRegistryRequestsOfManyAdapters has requests for several adapters each compete for the places of three, while
// adapters are loaded, pinned and unloaded: all of them get what they want, and never is more in memory.
func TestRegistryRequestsOfManyAdapters(t *testing.T) {
	const places, names, workers, rounds = 3, 8, 12, 300
	_, r := newShelf(places, places)
	for i := range names {
		require.NoError(t, r.Load(t.Context(), fmt.Sprint(i), fmt.Sprint(i), false))
	}
	seed := random(t).Uint64()
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(worker)))
			for range rounds {
				wanted := []string{""}
				for range 1 + rnd.IntN(2) {
					wanted = append(wanted, fmt.Sprint(rnd.IntN(names)))
				}
				if rnd.IntN(20) == 0 {
					name := wanted[1]
					_ = r.Unload(context.Background(), name)
					_ = r.Load(context.Background(), name, name, rnd.IntN(4) == 0)
				}
				refs, err := r.AcquireAll(context.Background(), wanted)
				if err != nil { // pinned ones leave too few places
					require.ErrorIs(t, err, ErrRefused)
					continue
				}
				if n := r.Held().Adapters; n > places {
					t.Errorf("%d adapters are in memory", n)
				}
				time.Sleep(time.Duration(rnd.IntN(30)) * time.Microsecond)
				for _, ref := range refs {
					ref.Release()
				}
			}
		})
	}
	group.Wait()
	for _, l := range r.List() {
		require.Zero(t, l.Users)
		require.NoError(t, r.Unload(t.Context(), l.Name))
	}
	require.Zero(t, r.Held())
}
