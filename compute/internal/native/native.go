// Package native makes the Vulkan calls that the Go binding cannot make safely or at all: those newer than Vulkan 1.0,
// those that take slices (the binding frees its copies from finalizers that may run during the call), and the hot ones.
// It has no policy. Handles are 64-bit numbers; results are VkResult values.
package native

// #cgo LDFLAGS: -ldl
// #cgo noescape lk_instance_message
// #cgo nocallback lk_instance_message
// #cgo noescape lk_heap_free
// #cgo nocallback lk_heap_free
// #cgo noescape lk_record
// #cgo nocallback lk_record
// #cgo noescape lk_submit
// #cgo nocallback lk_submit
// #cgo noescape lk_completed
// #cgo nocallback lk_completed
// #cgo noescape lk_wait
// #cgo nocallback lk_wait
// #cgo noescape lk_timestamps
// #cgo nocallback lk_timestamps
// #include <dlfcn.h>
// #include <stdlib.h>
// #include "native.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// Result is a VkResult: 0 is success, negative values are errors.
type Result int32

// Loader returns the address of vkGetInstanceProcAddr in libvulkan.so.1, or nil and why the library cannot be opened.
func Loader() (proc unsafe.Pointer, why string) {
	runtime.LockOSThread() // each thread has an error of its own
	defer runtime.UnlockOSThread()
	if proc = unsafe.Pointer(C.lk_loader()); proc == nil {
		why = C.GoString(C.dlerror())
	}
	return proc, why
}

// HasLayer reports whether the named instance layer is installed.
func HasLayer(name string) bool {
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	return bool(C.lk_has_layer(s))
}

// Instance is a VkInstance with its message log.
type Instance struct{ c *C.lk_instance }

// NewInstance creates an instance; validation turns on the Khronos layer with synchronization checks.
func NewInstance(validation bool) (Instance, Result) {
	var in Instance
	r := C.lk_instance_create(C.bool(validation), &in.c)
	return in, Result(r)
}

// Destroy destroys the instance, whose devices must be gone.
func (in Instance) Destroy() { C.lk_instance_destroy(in.c) }

// Handle is the VkInstance.
func (in Instance) Handle() uint64 { return uint64(C.lk_instance_handle(in.c)) }

// Devices lists the physical devices.
func (in Instance) Devices() ([]uint64, Result) {
	devices := make([]uint64, 64)
	var n C.uint32_t
	r := C.lk_instance_devices(in.c, (*C.uint64_t)(&devices[0]), C.uint32_t(len(devices)), &n)
	return devices[:n], Result(r)
}

// Message takes the oldest validation message from the log.
func (in Instance) Message() (string, bool) {
	var text [8192]byte
	if !C.lk_instance_message(in.c, (*C.char)(unsafe.Pointer(&text[0])), C.size_t(len(text))) {
		return "", false
	}
	return C.GoString((*C.char)(unsafe.Pointer(&text[0]))), true
}

// HeapFree is what this process may still allocate from a memory heap, in bytes; 0 when the driver does not say.
func (in Instance) HeapFree(physical uint64, heap int) int64 {
	return int64(C.lk_heap_free(in.c, C.uint64_t(physical), C.uint32_t(heap)))
}

// Device is a VkDevice with one queue, its timeline, its pipeline layout and its pipeline cache.
type Device struct{ c *C.lk_device }

// Queue is one of the two queues of a device.
type Queue int

// The queue of programs and that of uploads.
const (
	Work    Queue = C.LK_WORK
	Uploads Queue = C.LK_UPLOADS
)

// QueuePlace is a queue of a physical device.
type QueuePlace struct{ Family, Index int }

// DeviceOptions say how a device is to work.
type DeviceOptions struct {
	Spin       bool // waits poll before they sleep
	Statistics bool // the driver keeps what PipelineStatistics tells, if it can
}

// NewDevice opens a device with every feature of its description turned on. Its two queues may lie in one place: then they are one.
func NewDevice(in Instance, physical uint64, d *Description, work, uploads QueuePlace, o DeviceOptions) (Device, Result) {
	var dev Device
	places := [C.LK_QUEUES]C.lk_queue_place{
		Work:    {family: C.uint32_t(work.Family), index: C.uint32_t(work.Index)},
		Uploads: {family: C.uint32_t(uploads.Family), index: C.uint32_t(uploads.Index)},
	}
	r := C.lk_device_create(in.c, C.uint64_t(physical), &d.c, &places[0], C.lk_device_options{spin: C.bool(o.Spin), statistics: C.bool(o.Statistics)}, &dev.c)
	return dev, Result(r)
}

// Destroy destroys the device, which must be idle and own nothing else any more.
func (d Device) Destroy() { C.lk_device_destroy(d.c) }

// Handle is the VkDevice.
func (d Device) Handle() uint64 { return uint64(C.lk_device_handle(d.c)) }

// NewBuffer creates a buffer that both queues may use at any time.
func (d Device) NewBuffer(size int64) (uint64, Result) {
	var buffer C.uint64_t
	r := C.lk_buffer_create(d.c, C.uint64_t(size), &buffer)
	return uint64(buffer), Result(r)
}

// BufferAddress is the device address of a bound buffer.
func (d Device) BufferAddress(buffer uint64) uint64 {
	return uint64(C.lk_buffer_address(d.c, C.uint64_t(buffer)))
}

// LoadCache creates the pipeline cache from what an earlier CacheData returned, or an empty one.
func (d Device) LoadCache(data []byte) Result {
	return Result(C.lk_cache_load(d.c, unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data))))
}

// CacheData returns the content of the pipeline cache.
func (d Device) CacheData() ([]byte, Result) {
	var size C.size_t
	if r := C.lk_cache_data(d.c, nil, &size); r != 0 || size == 0 {
		return nil, Result(r)
	}
	data := make([]byte, size)
	r := C.lk_cache_data(d.c, unsafe.Pointer(&data[0]), &size)
	return data[:size], Result(r)
}

// NewPipeline compiles entry point main of a shader module; spec[i] is the value of constant_id i.
// requiredSubgroup 0 leaves the subgroup size to the driver.
func (d Device) NewPipeline(module uint64, spec []uint32, requiredSubgroup int) (uint64, Result) {
	var p C.uint64_t
	r := C.lk_pipeline_create(d.c, C.uint64_t(module), (*C.uint32_t)(unsafe.SliceData(spec)), C.uint32_t(len(spec)), C.uint32_t(requiredSubgroup), &p)
	return uint64(p), Result(r)
}

// Statistic is something that the driver says of a pipeline, in its words.
type Statistic struct {
	Name  string
	Value float64
}

// PipelineStatistics is what the driver says of a pipeline's machine code; nothing unless the device was opened for it and can.
func (d Device) PipelineStatistics(pipeline uint64) []Statistic {
	const most = 64
	var all [most]C.lk_statistic
	list := make([]Statistic, C.lk_pipeline_statistics(d.c, C.uint64_t(pipeline), &all[0], most))
	for i := range list {
		list[i] = Statistic{C.GoString(&all[i].name[0]), float64(all[i].value)}
	}
	return list
}

// DestroyPipeline destroys what NewPipeline made.
func (d Device) DestroyPipeline(pipeline uint64) { C.lk_pipeline_destroy(d.c, C.uint64_t(pipeline)) }

// Record turns commands into a command buffer of the pool. push holds the bytes that Push commands point into,
// queries is the query pool of timestamp commands, 0 without them.
func (d Device) Record(pool uint64, commands []Command, push []byte, queries uint64) (uint64, Result) {
	var buffer C.uint64_t
	r := C.lk_record(d.c, C.uint64_t(pool), (*C.lk_command)(unsafe.Pointer(unsafe.SliceData(commands))), C.uint32_t(len(commands)),
		(*C.uint8_t)(unsafe.SliceData(push)), C.uint64_t(queries), &buffer)
	return uint64(buffer), Result(r)
}

// FreeRecorded frees a command buffer.
func (d Device) FreeRecorded(pool, buffer uint64) {
	C.lk_program_free(d.c, C.uint64_t(pool), C.uint64_t(buffer))
}

// Submit runs command buffers in order on a queue; its timeline reaches value when all are done. Values must grow. They, and what the queue
// gets later, begin once the other queue's timeline has reached after, and see what was written until then; 0: at once.
func (d Device) Submit(q Queue, buffers []uint64, value, after uint64) Result {
	return Result(C.lk_submit(d.c, C.uint32_t(q), (*C.uint64_t)(unsafe.SliceData(buffers)), C.uint32_t(len(buffers)), C.uint64_t(value), C.uint64_t(after)))
}

// Completed is the value that a queue's timeline has reached.
func (d Device) Completed(q Queue) (uint64, Result) {
	var v C.uint64_t
	r := C.lk_completed(d.c, C.uint32_t(q), &v)
	return uint64(v), Result(r)
}

// Wait returns when a queue's timeline has reached value, with the value it has reached.
func (d Device) Wait(q Queue, value uint64) (uint64, Result) {
	var v C.uint64_t
	r := C.lk_wait(d.c, C.uint32_t(q), C.uint64_t(value), &v)
	return uint64(v), Result(r)
}

// Timestamps reads the first len(ticks) queries of a pool.
func (d Device) Timestamps(queries uint64, ticks []uint64) Result {
	return Result(C.lk_timestamps(d.c, C.uint64_t(queries), C.uint32_t(len(ticks)), (*C.uint64_t)(unsafe.SliceData(ticks))))
}
