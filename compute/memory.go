package compute

import (
	"fmt"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"lorikeet/compute/internal/native"
)

// Usage says who writes a buffer and who reads it.
type Usage int

const (
	// Local is memory of the device, for what kernels read and write. The host sees it too where Info.MappedLocal, as far as the
	// window for that goes.
	Local Usage = iota
	// HostWrite is memory the host writes and kernels read, also as indirect counts: write it in order and never read it on the host.
	HostWrite
	// HostRead is memory kernels write and the host reads.
	HostRead
	// Private is memory of the device that only kernels touch. It takes no room in the window through which the host sees
	// device memory, which may be smaller than the memory.
	Private
	// Staging is memory the host writes and copies read.
	Staging
)

// String returns the name of the usage.
func (u Usage) String() string {
	return [...]string{"local", "host-write", "host-read", "private", "staging"}[u]
}

const (
	localFlag    = uint32(vk.MemoryPropertyDeviceLocalBit)
	cachedFlag   = uint32(vk.MemoryPropertyHostCachedBit)
	mappableFlag = uint32(vk.MemoryPropertyHostVisibleBit | vk.MemoryPropertyHostCoherentBit)
)

// localHeap is the largest device-local heap.
func localHeap(heaps []native.MemoryHeap) (heap int, size int64) {
	for i, h := range heaps {
		if h.Flags&uint32(vk.MemoryHeapDeviceLocalBit) != 0 && h.Size > size {
			heap, size = i, h.Size
		}
	}
	return heap, size
}

// mappedLocal reports whether the host can map a device-local heap.
func mappedLocal(types []native.MemoryType, heap int) bool {
	for _, t := range types {
		if t.Heap == heap && t.Flags&(localFlag|mappableFlag) == localFlag|mappableFlag {
			return true
		}
	}
	return false
}

// preferences lists, best first, the flags a memory type should have and those it should not.
func preferences(u Usage, staged bool) []struct{ with, without uint32 } {
	type list = []struct{ with, without uint32 }
	switch {
	case u == HostWrite:
		return list{{localFlag | mappableFlag, 0}, {mappableFlag, cachedFlag}, {mappableFlag, 0}}
	case u == HostRead:
		return list{{mappableFlag | cachedFlag, localFlag}, {mappableFlag | cachedFlag, 0}, {mappableFlag, 0}}
	case u == Staging: // not the device's: a copy then crosses the bus once, and the host's stores do not
		return list{{mappableFlag, localFlag}, {mappableFlag, 0}}
	case staged || u == Private:
		return list{{localFlag, mappableFlag}, {localFlag, 0}}
	}
	// The window through which the host sees device memory may be full before the memory is: uploads are staged then.
	return list{{localFlag | mappableFlag, 0}, {localFlag, mappableFlag}}
}

// fitTypes lists the indices of the memory types fit for a usage, best first, out of those allowed by a mask. Local memory comes
// from the given heap only. Types of exotic kinds (protected, uncached) are never picked.
func fitTypes(types []native.MemoryType, heap int, u Usage, staged bool, mask uint32) []int {
	const known = uint32(vk.MemoryPropertyDeviceLocalBit | vk.MemoryPropertyHostVisibleBit | vk.MemoryPropertyHostCoherentBit | vk.MemoryPropertyHostCachedBit)
	var found []int
	seen := map[int]bool{}
	for _, p := range preferences(u, staged) {
		for i, t := range types {
			fits := t.Flags&p.with == p.with && t.Flags&p.without == 0 && t.Flags&^known == 0
			if mask>>i&1 == 0 || !fits || seen[i] || ((u == Local || u == Private) && t.Heap != heap) {
				continue
			}
			seen[i] = true
			found = append(found, i)
		}
	}
	return found
}

// allocateMemory tries each memory type in turn.
func (d *Device) allocateMemory(size int64, types []int) (memory vk.DeviceMemory, memoryType int, err error) {
	const deviceAddress = 2 // VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT, newer than the binding
	flags := vk.MemoryAllocateFlagsInfo{SType: vk.StructureTypeMemoryAllocateFlagsInfo, Flags: deviceAddress}
	defer flags.Free()
	chain, _ := flags.PassRef()
	err = fmt.Errorf("the device has no memory type for it")
	for _, t := range types {
		info := vk.MemoryAllocateInfo{SType: vk.StructureTypeMemoryAllocateInfo, PNext: unsafe.Pointer(chain), AllocationSize: vk.DeviceSize(size), MemoryTypeIndex: uint32(t)}
		var m vk.DeviceMemory
		r := vk.AllocateMemory(d.handle, &info, nil, &m)
		info.Free()
		if r == vk.Success {
			return m, t, nil
		}
		err = resultError(native.Result(r))
	}
	return nil, 0, err
}
