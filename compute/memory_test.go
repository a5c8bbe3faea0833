package compute

import (
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute/internal/native"
)

func TestFitTypes(t *testing.T) {
	at := func(flags uint32, heap int) native.MemoryType { return native.MemoryType{Flags: flags, Heap: heap} }
	types := func(all ...native.MemoryType) []native.MemoryType { return all }
	const all = ^uint32(0)
	local, system := 0, 1
	h200 := types(at(0, system), at(1, local), at(6, system), at(14, system), at(7, local))
	// A GPU with a small window: heap 2 is the part of its memory that the host sees.
	window := types(at(0, system), at(1, local), at(6, system), at(14, system), at(7, 2))
	unified := types(at(7, local), at(15, local), at(0xf|0x10, local))
	for _, c := range []struct {
		name   string
		types  []native.MemoryType
		usage  Usage
		staged bool
		mask   uint32
		want   []int
	}{
		{"all of the memory is mapped; behind that, staged", h200, Local, false, all, []int{4, 1}},
		{"mapped, treated as unmapped", h200, Local, true, all, []int{1, 4}},
		{"window: local memory is not of the window", window, Local, true, all, []int{1}},
		{"window: what the host writes lies in it, then in host memory", window, HostWrite, true, all, []int{4, 2, 3}},
		{"host writes where the device is near", h200, HostWrite, false, all, []int{4, 2, 3}},
		{"the buffer does not allow the best type", h200, HostWrite, false, 0b01111, []int{2, 3}},
		{"host reads what is cached", h200, HostRead, false, all, []int{3, 2, 4}},
		{"unified memory: cached, though it is local", unified, HostRead, false, all, []int{1, 0}},
		{"staging: what crosses the bus is the copy", h200, Staging, false, all, []int{2, 3, 4}},
		{"nothing fits", h200[:1], HostRead, false, all, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, fitTypes(c.types, local, c.usage, c.staged, c.mask))
		})
	}
	require.True(t, mappedLocal(h200, local))
	require.False(t, mappedLocal(window, local))
}

func TestLocalHeap(t *testing.T) {
	heap, size := localHeap([]native.MemoryHeap{{Size: 246 << 20, Flags: 1}, {Size: 512 << 30}, {Size: 24 << 30, Flags: 1}})
	require.Equal(t, 2, heap)
	require.EqualValues(t, 24<<30, size)
}
