package compute

import (
	"fmt"
	"strings"

	vk "github.com/vulkan-go/vulkan"

	"lorikeet/compute/internal/native"
)

// DeviceType is the kind of a device.
type DeviceType int

// The kinds of device.
const (
	Other DeviceType = iota
	Integrated
	Discrete
	Virtual
	CPU
)

// String returns the name of the kind, in lower case.
func (t DeviceType) String() string {
	return [...]string{"other", "integrated", "discrete", "virtual", "cpu"}[t]
}

// Feature is one thing a driver may or may not offer.
type Feature struct {
	Name     string
	OK       bool
	Required bool // without it the device cannot be used
}

// CoopShape is one cooperative matrix product C[M,N] = A[M,K] · B[K,N] + C that the device multiplies in hardware.
type CoopShape struct {
	M, N, K      int
	A, B, C, Out string // component types: "f16", "bf16", "f32", "s8", ...
	Scope        string // "subgroup" or "workgroup"
	Invocations  int    // 0: M, N, K are exact; else they are granularities, for workgroups of this size
}

// Info describes a device. Sizes are in bytes.
type Info struct {
	Index      int // position in Devices, what Options.Device may name
	Name       string
	Driver     string
	Type       DeviceType
	APIVersion string

	SubgroupSize            int
	MaxWorkgroupInvocations int
	MaxSharedMemory         int
	MaxPushConstants        int
	MaxAllocation           int64
	LocalHeap               int64   // size of the largest device-local heap
	LocalFree               int64   // what this process may still allocate of it; LocalHeap when the driver does not say
	InOrder                 bool    // what a workgroup waits for goes on without it, if it comes before: in the order of dispatches, then of indices
	Multiprocessors         int     // that workgroups are spread over; 0 when the driver does not say
	MappedLocal             bool    // the host can write all of that heap directly
	TimestampPeriod         float64 // nanoseconds per tick; 0: no timestamps

	Features          []Feature
	CooperativeMatrix []CoopShape
	Missing           []string // required features the device lacks; empty: usable
}

// Has reports whether the device offers the named feature of Features.
func (i Info) Has(name string) bool {
	for _, f := range i.Features {
		if f.Name == name {
			return f.OK
		}
	}
	return false
}

// Devices lists the Vulkan devices of this machine, usable or not.
func Devices() ([]Info, error) {
	in, err := openInstance(false)
	if err != nil {
		return nil, err
	}
	defer in.Destroy()
	_, infos, err := listDevices(in)
	return infos, err
}

type physicalDevice struct {
	handle      uint64
	description *native.Description
}

func listDevices(in native.Instance) ([]physicalDevice, []Info, error) {
	handles, r := in.Devices()
	if r != 0 {
		return nil, nil, check(r, "list devices")
	}
	var devices []physicalDevice
	var infos []Info
	for i, h := range handles {
		d := physicalDevice{h, in.Describe(h)}
		info := describe(d.description)
		info.Index = i
		info.LocalFree = localFree(in, d)
		devices = append(devices, d)
		infos = append(infos, info)
	}
	return devices, infos, nil
}

func localFree(in native.Instance, d physicalDevice) int64 {
	heap, size := localHeap(d.description.MemoryHeaps())
	if !d.description.Has(native.MemoryBudget) {
		return size
	}
	return in.HeapFree(d.handle, heap)
}

var featureNames = []struct {
	feature  native.Feature
	name     string
	required bool
}{
	{native.BufferAddress, "bufferDeviceAddress", true},
	{native.Timeline, "timelineSemaphore", true},
	{native.Int64, "shaderInt64", true},
	{native.SubgroupBasic, "subgroup basic", true},
	{native.SubgroupArithmetic, "subgroup arithmetic", true},
	{native.SubgroupBallot, "subgroup ballot", true},
	{native.SubgroupShuffle, "subgroup shuffle", true},
	{native.Storage16, "storageBuffer16BitAccess", false},
	{native.Storage8, "storageBuffer8BitAccess", false},
	{native.Float16, "shaderFloat16", false},
	{native.Int8, "shaderInt8", false},
	{native.Int16, "shaderInt16", false},
	{native.MemoryModel, "vulkanMemoryModel", false},
	{native.SubgroupSizeControl, "subgroupSizeControl", false},
	{native.FullSubgroups, "computeFullSubgroups", false},
	{native.Synchronization2, "synchronization2", false},
	{native.MemoryBudget, "VK_EXT_memory_budget", false},
	{native.Cooperative, "VK_KHR_cooperative_matrix", false},
	{native.Cooperative2, "VK_NV_cooperative_matrix2 flexible dimensions", false},
	{native.Cooperative2Group, "VK_NV_cooperative_matrix2 workgroup scope", false},
	{native.Cooperative2Tensors, "VK_NV_cooperative_matrix2 tensor addressing", false},
	{native.BFloat16, "VK_KHR_shader_bfloat16", false},
	{native.BFloat16Cooperative, "VK_KHR_shader_bfloat16 cooperative matrix", false},
	{native.PipelineStatistics, "VK_KHR_pipeline_executable_properties", false},
}

// startsInOrder are the drivers, by the name that they give, on whose devices a workgroup may wait for those that come before it. NVIDIA's
// start workgroups in that order: when one runs, all before it have started. llvmpipe runs one dispatch after the other; its threads
// take pieces of one in order, and go through a piece in order.
var startsInOrder = map[string]bool{"NVIDIA": true, "llvmpipe": true}

func describe(d *native.Description) Info {
	driver, version := d.Driver()
	info := Info{
		Name:          d.Name(),
		Driver:        strings.TrimSpace(driver + " " + version),
		Type:          deviceType(vk.PhysicalDeviceType(d.Type())),
		APIVersion:    fmt.Sprintf("%d.%d.%d", d.API()>>22, d.API()>>12&0x3ff, d.API()&0xfff),
		MaxAllocation: d.MaxAllocation(),
	}
	info.InOrder = startsInOrder[driver]
	info.SubgroupSize, _, _ = d.Subgroup()
	info.Multiprocessors = d.Multiprocessors()
	info.MaxWorkgroupInvocations, info.MaxSharedMemory, info.MaxPushConstants = d.Limits()
	info.TimestampPeriod, _ = d.TimestampPeriod()
	heap, size := localHeap(d.MemoryHeaps())
	info.LocalHeap, info.MappedLocal = size, mappedLocal(d.MemoryTypes(), heap)
	if d.API() < vk.MakeVersion(1, 2, 0) {
		info.Missing = append(info.Missing, "Vulkan 1.2")
	}
	if d.Family() < 0 {
		info.Missing = append(info.Missing, "a queue for compute")
	}
	for _, f := range featureNames {
		ok := d.Has(f.feature)
		info.Features = append(info.Features, Feature{f.name, ok, f.required})
		if f.required && !ok {
			info.Missing = append(info.Missing, f.name)
		}
	}
	for _, s := range d.Shapes() {
		info.CooperativeMatrix = append(info.CooperativeMatrix, CoopShape{M: s.M, N: s.N, K: s.K, A: componentName(s.A), B: componentName(s.B),
			C: componentName(s.C), Out: componentName(s.Out), Scope: scopeName(s.Scope), Invocations: s.Invocations})
	}
	return info
}

func deviceType(t vk.PhysicalDeviceType) DeviceType {
	switch t {
	case vk.PhysicalDeviceTypeIntegratedGpu:
		return Integrated
	case vk.PhysicalDeviceTypeDiscreteGpu:
		return Discrete
	case vk.PhysicalDeviceTypeVirtualGpu:
		return Virtual
	case vk.PhysicalDeviceTypeCpu:
		return CPU
	}
	return Other
}

// componentName names a VkComponentTypeKHR.
func componentName(t uint32) string {
	names := map[uint32]string{0: "f16", 1: "f32", 2: "f64", 3: "s8", 4: "s16", 5: "s32", 6: "s64", 7: "u8", 8: "u16", 9: "u32", 10: "u64",
		1000141000: "bf16", 1000491002: "f8e4m3", 1000491003: "f8e5m2"}
	if name, ok := names[t]; ok {
		return name
	}
	return fmt.Sprintf("type %d", t)
}

// scopeName names a VkScopeKHR.
func scopeName(s uint32) string {
	names := map[uint32]string{1: "device", 2: "workgroup", 3: "subgroup", 5: "queue family"}
	if name, ok := names[s]; ok {
		return name
	}
	return fmt.Sprintf("scope %d", s)
}
