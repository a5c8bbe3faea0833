package native

// #include "native.h"
import "C"

// Feature is an index into Description's features.
type Feature int

// The features the project knows, required or not.
const (
	BufferAddress       Feature = C.LK_BUFFER_ADDRESS
	Timeline            Feature = C.LK_TIMELINE
	Int64               Feature = C.LK_INT64
	SubgroupBasic       Feature = C.LK_SUBGROUP_BASIC
	SubgroupArithmetic  Feature = C.LK_SUBGROUP_ARITHMETIC
	SubgroupBallot      Feature = C.LK_SUBGROUP_BALLOT
	SubgroupShuffle     Feature = C.LK_SUBGROUP_SHUFFLE
	Storage16           Feature = C.LK_STORAGE16
	Storage8            Feature = C.LK_STORAGE8
	Float16             Feature = C.LK_FLOAT16
	Int8                Feature = C.LK_INT8
	Int16               Feature = C.LK_INT16
	MemoryModel         Feature = C.LK_MEMORY_MODEL
	SubgroupSizeControl Feature = C.LK_SUBGROUP_SIZE_CONTROL
	FullSubgroups       Feature = C.LK_FULL_SUBGROUPS
	Synchronization2    Feature = C.LK_SYNCHRONIZATION2
	MemoryBudget        Feature = C.LK_MEMORY_BUDGET
	Cooperative         Feature = C.LK_COOPERATIVE
	Cooperative2        Feature = C.LK_COOPERATIVE2
	Cooperative2Group   Feature = C.LK_COOPERATIVE2_WORKGROUP
	Cooperative2Tensors Feature = C.LK_COOPERATIVE2_TENSORS
	BFloat16            Feature = C.LK_BFLOAT16
	PipelineStatistics  Feature = C.LK_PIPELINE_STATISTICS
	BFloat16Cooperative Feature = C.LK_BFLOAT16_COOPERATIVE
)

// Description is what a physical device offers.
type Description struct{ c C.lk_description }

// Describe asks a physical device for its properties, features, memory and queues.
func (in Instance) Describe(physical uint64) *Description {
	d := new(Description)
	C.lk_describe(in.c, C.uint64_t(physical), &d.c)
	return d
}

// Name is the device's own name.
func (d *Description) Name() string { return C.GoString(&d.c.name[0]) }

// Driver is the driver's name and its version text.
func (d *Description) Driver() (name, info string) {
	return C.GoString(&d.c.driver_name[0]), C.GoString(&d.c.driver_info[0])
}

// Type is the VkPhysicalDeviceType.
func (d *Description) Type() int { return int(d.c._type) }

// API is the packed version of Vulkan the device speaks.
func (d *Description) API() uint32 { return uint32(d.c.api) }

// Has reports whether the device has a feature.
func (d *Description) Has(f Feature) bool { return bool(d.c.features[f]) }

// Subgroup is the default subgroup size and the range a pipeline may require.
func (d *Description) Subgroup() (size, least, most int) {
	return int(d.c.subgroup), int(d.c.subgroup_min), int(d.c.subgroup_max)
}

// Multiprocessors is how many the device has, 0 when the driver does not say.
func (d *Description) Multiprocessors() int { return int(d.c.multiprocessors) }

// Limits of a workgroup: invocations, bytes of shared memory, bytes of push constants.
func (d *Description) Limits() (invocations, shared, push int) {
	return int(d.c.max_invocations), int(d.c.max_shared), int(d.c.max_push)
}

// MaxGroups is the most workgroups of a dispatch along x, y and z.
func (d *Description) MaxGroups() [3]uint32 {
	return [3]uint32{uint32(d.c.max_groups[0]), uint32(d.c.max_groups[1]), uint32(d.c.max_groups[2])}
}

// MaxAllocation is the largest buffer, in bytes.
func (d *Description) MaxAllocation() int64 { return int64(d.c.max_allocation) }

// TimestampPeriod is the nanoseconds of one tick; 0 when the queue has no timestamps. Mask selects the bits of a tick that count.
func (d *Description) TimestampPeriod() (period float64, mask uint64) {
	if d.c.timestamp_bits == 0 {
		return 0, 0
	}
	return float64(d.c.timestamp_period), ^uint64(0) >> (64 - uint(d.c.timestamp_bits))
}

// Family is the queue family for compute, -1 when there is none.
func (d *Description) Family() int { return int(d.c.family) }

// QueueFamily is a VkQueueFamilyProperties.
type QueueFamily struct {
	Flags  uint32
	Queues int
}

// QueueFamilies lists the queue families by index.
func (d *Description) QueueFamilies() []QueueFamily {
	families := make([]QueueFamily, d.c.families)
	for i := range families {
		families[i] = QueueFamily{Flags: uint32(d.c.queue_family[i].flags), Queues: int(d.c.queue_family[i].queues)}
	}
	return families
}

// MemoryType is a VkMemoryType.
type MemoryType struct {
	Flags uint32
	Heap  int
}

// MemoryTypes lists the memory types by index.
func (d *Description) MemoryTypes() []MemoryType {
	types := make([]MemoryType, d.c.memory_types)
	for i := range types {
		types[i] = MemoryType{Flags: uint32(d.c.memory_type[i].flags), Heap: int(d.c.memory_type[i].heap)}
	}
	return types
}

// MemoryHeap is a VkMemoryHeap.
type MemoryHeap struct {
	Size  int64
	Flags uint32
}

// MemoryHeaps lists the memory heaps by index.
func (d *Description) MemoryHeaps() []MemoryHeap {
	heaps := make([]MemoryHeap, d.c.memory_heaps)
	for i := range heaps {
		heaps[i] = MemoryHeap{Size: int64(d.c.memory_heap[i].size), Flags: uint32(d.c.memory_heap[i].flags)}
	}
	return heaps
}

// Shape is one cooperative matrix product; the numbers of types and scope are Vulkan's.
type Shape struct {
	M, N, K      int
	A, B, C, Out uint32
	Scope        uint32
	Invocations  int // 0: the sizes are exact; else they are granularities, for workgroups of this size
}

// Shapes lists the cooperative matrix products of the device.
func (d *Description) Shapes() []Shape {
	shapes := make([]Shape, d.c.shapes)
	for i := range shapes {
		s := &d.c.shape[i]
		shapes[i] = Shape{M: int(s.m), N: int(s.n), K: int(s.k), A: uint32(s.a), B: uint32(s.b), C: uint32(s.c), Out: uint32(s.result),
			Scope: uint32(s.scope), Invocations: int(s.invocations)}
	}
	return shapes
}
