package compute

import (
	"errors"
	"fmt"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"lorikeet/compute/internal/native"
)

// Buffer is a range of memory the device can address.
type Buffer struct {
	dev     *Device
	size    int64
	address uint64
	bytes   []byte
	cached  bool // the host reads it fast
	buffer  vk.Buffer
	memory  vk.DeviceMemory
}

// Allocate makes a buffer of size bytes. It fails when size is above Info.MaxAllocation, and with ErrOutOfMemory when the memory is full.
// The content is undefined.
func (d *Device) Allocate(size int64, u Usage) (*Buffer, error) {
	switch {
	case size <= 0:
		return nil, fmt.Errorf("compute: allocate %d bytes: the size must be positive", size)
	case size > d.info.MaxAllocation:
		return nil, fmt.Errorf("compute: allocate %d bytes: the device allows at most %d in one buffer", size, d.info.MaxAllocation)
	}
	d.reap(&d.work)
	b, err := d.allocate(size, u)
	if errors.Is(err, ErrOutOfMemory) && d.buried(&d.work) {
		// What was released may still be waiting for the device.
		if err := d.Wait(d.lastTicket()); err != nil {
			return nil, err
		}
		b, err = d.allocate(size, u)
	}
	if err != nil {
		return nil, fmt.Errorf("compute: allocate %d bytes of %s memory, %d are free: %w", size, u, d.Info().LocalFree, err)
	}
	d.mu.Lock()
	d.buffers[b] = struct{}{}
	d.mu.Unlock()
	return b, nil
}

func (d *Device) allocate(size int64, u Usage) (*Buffer, error) {
	buffer, r := d.native.NewBuffer(size)
	if r != 0 {
		return nil, resultError(r)
	}
	b := &Buffer{dev: d, size: size, buffer: handle[vk.Buffer](buffer)}
	if err := b.bind(u); err != nil {
		b.destroy()
		return nil, err
	}
	return b, nil
}

// bind gives the buffer its memory, its address and, where the host may see it, its bytes.
func (b *Buffer) bind(u Usage) error {
	d := b.dev
	var need vk.MemoryRequirements
	vk.GetBufferMemoryRequirements(d.handle, b.buffer, &need)
	need.Deref()
	size, mask := need.Size, need.MemoryTypeBits
	need.Free()

	memory, memoryType, err := d.allocateMemory(int64(size), fitTypes(d.memory, d.heap, u, d.staged, mask))
	if err != nil {
		return err
	}
	b.memory = memory
	if r := vk.BindBufferMemory(d.handle, b.buffer, memory, 0); r != vk.Success {
		return resultError(native.Result(r))
	}
	b.address = d.native.BufferAddress(number(b.buffer))
	flags := d.memory[memoryType].Flags
	if flags&mappableFlag != mappableFlag || u == Private || (u == Local && d.staged) {
		return nil
	}
	var p unsafe.Pointer
	if r := vk.MapMemory(d.handle, memory, 0, vk.DeviceSize(vk.WholeSize), 0, &p); r != vk.Success {
		return resultError(native.Result(r))
	}
	b.bytes = unsafe.Slice((*byte)(p), b.size)
	b.cached = flags&cachedFlag != 0
	return nil
}

func (b *Buffer) destroy() {
	vk.DestroyBuffer(b.dev.handle, b.buffer, nil)
	if b.memory != nil {
		vk.FreeMemory(b.dev.handle, b.memory, nil)
	}
}

// Address is where kernels find the first byte.
func (b *Buffer) Address() uint64 { return b.address }

// Size is the size asked for, in bytes.
func (b *Buffer) Size() int64 { return b.size }

// Bytes is the buffer's memory as the host sees it, nil when it does not. It must not be used after Release.
func (b *Buffer) Bytes() []byte { return b.bytes }

// Release frees the buffer once the work submitted so far is done. Further calls do nothing.
func (b *Buffer) Release() {
	d := b.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, alive := d.buffers[b]; !alive {
		return
	}
	delete(d.buffers, b)
	d.bury(&d.work, b.destroy)
}

// Span is a part of a buffer.
type Span struct {
	Buffer *Buffer
	Offset int64
	Size   int64
}

// All is the whole buffer as a span.
func (b *Buffer) All() Span { return Span{b, 0, b.size} }

// Address is where kernels find the first byte.
func (s Span) Address() uint64 { return s.Buffer.address + uint64(s.Offset) }

// Bytes is the span's memory as the host sees it, nil when it does not.
func (s Span) Bytes() []byte {
	if s.Buffer.bytes == nil {
		return nil
	}
	return s.Buffer.bytes[s.Offset : s.Offset+s.Size : s.Offset+s.Size]
}

// Slice is the part of n bytes at off. It panics when that is not inside the span.
func (s Span) Slice(off, n int64) Span {
	if off < 0 || n < 0 || off > s.Size-n {
		panic(fmt.Sprintf("compute: slice of %d bytes at %d of a span of %d", n, off, s.Size))
	}
	return Span{s.Buffer, s.Offset + off, n}
}
