package lora

import (
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRegistryForgetsNames loads many more names than are remembered: memory stops growing, the last of them can be
// asked for, and the first are like names that were never loaded.
func TestRegistryForgetsNames(t *testing.T) {
	silence(t)
	const places = 4
	r := NewRegistry(func(name, path string) (*Adapter, error) { return &Adapter{Name: name, Path: path}, nil }, 2, places)
	name := func(i int) string { return fmt.Sprintf("adapter %06d", i) }
	load := func(from, to int) {
		for i := from; i < to; i++ {
			require.NoError(t, r.Load(t.Context(), name(i), "/", false))
		}
	}
	const first = maxNames + places
	load(0, first)
	require.Equal(t, first, len(r.names.records))
	before := heap()
	const all = first + 50_000
	load(first, all)
	require.Equal(t, first, len(r.names.records))
	require.Less(t, heap(), before+1<<20)

	_, err := acquire(r, name(all-first-1))
	require.ErrorContains(t, err, "never been loaded: "+name(all-first-1))
	require.ErrorContains(t, err, "', ...]")
	require.Less(t, len(err.Error()), 2000, "it does not list all")
	for _, i := range []int{all - first, all - 1, all - 40_000} {
		ref, err := acquire(r, name(i))
		require.NoError(t, err)
		require.Equal(t, name(i), ref.Adapter().Name)
		ref.Release()
	}
	require.LessOrEqual(t, len(r.names.records), first)
}

// TestRegistryForgetsUnloadedNamesApart makes up names and unloads them: those that were only evicted stay known.
func TestRegistryForgetsUnloadedNamesApart(t *testing.T) {
	silence(t)
	_, r := newShelf(2, 2)
	for _, name := range []string{"a", "b", "c", "d"} {
		require.NoError(t, r.Load(t.Context(), name, "/"+name, false))
	}
	for i := range maxNames + 20_000 {
		name := fmt.Sprint("step ", i)
		require.NoError(t, r.Load(t.Context(), name, "/", false))
		require.NoError(t, r.Unload(t.Context(), name))
	}
	require.Equal(t, 4+maxNames, len(r.names.records))
	for _, name := range []string{"a", "b", "c", "d", fmt.Sprint("step ", 20_000)} {
		ref, err := acquire(r, name)
		require.NoError(t, err)
		ref.Release()
	}
	_, err := acquire(r, "step 19999")
	require.ErrorContains(t, err, "never been loaded")
}

func TestRegistryRefusesLongNames(t *testing.T) {
	_, r := newShelf(2, 0)
	err := r.Load(t.Context(), strings.Repeat("x", maxNameBytes+1), "/", false)
	require.ErrorIs(t, err, ErrRefused)
	require.EqualError(t, err, "lora_name must be at most 1024 bytes, got 1025")
	require.NoError(t, r.Load(t.Context(), strings.Repeat("x", maxNameBytes), "/", false))

	longest := strings.Repeat("é", maxNameBytes)
	for _, err := range []error{Unknown(longest, nil), Disabled(longest), refuseUnload(longest, nil)} {
		require.Less(t, len(err.Error()), maxNameBytes+300)
		require.ErrorContains(t, err, "é...")
	}
}

// silence drops what a test logs many thousand times.
func silence(t *testing.T) {
	was := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(was) })
}

// heap is what Go objects in use take.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
