package compute

import (
	"fmt"
	"slices"
	"sync"
)

// arenaAlign is the alignment of every span of an arena.
const arenaAlign = 256

// Arena hands out spans of buffers that it allocates in chunks as they are needed. Its methods may be called from any goroutine.
type Arena struct {
	dev   *Device
	name  string
	usage Usage
	chunk int64

	mu      sync.Mutex
	chunks  map[*Buffer]*chunk
	order   []*chunk // as they were allocated: Alloc looks in this order
	pending []freed  // in order of their tickets
	used    int64
}

// chunk is a buffer cut into spans and holes.
type chunk struct {
	buffer *Buffer
	holes  []hole          // by offset, never adjacent
	taken  map[int64]int64 // offset to size, for spans not freed or not yet reusable
	sole   bool            // holds a single large span and goes away with it
}

type hole struct{ offset, size int64 }

// freed is a span that the device may still be using.
type freed struct {
	ticket uint64
	chunk  *chunk
	offset int64
}

// NewArena makes an empty arena whose chunks have the given size in bytes, or Info.MaxAllocation where that is less. The name appears in errors.
func (d *Device) NewArena(name string, u Usage, chunkSize int64) *Arena {
	size := min(roundUp(max(chunkSize, 1)), d.info.MaxAllocation/arenaAlign*arenaAlign)
	return &Arena{dev: d, name: name, usage: u, chunk: size, chunks: map[*Buffer]*chunk{}}
}

func roundUp(n int64) int64 { return (n + arenaAlign - 1) / arenaAlign * arenaAlign }

// Alloc returns a span of n bytes, 256-byte aligned, with undefined content. A span larger than a chunk gets a buffer of its own.
// The error matches ErrOutOfMemory when the memory is full.
func (a *Arena) Alloc(n int64) (Span, error) {
	if n <= 0 {
		return Span{}, fmt.Errorf("compute: arena %q: %d bytes: the size must be positive", a.name, n)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reclaim()
	size := roundUp(n)
	for _, c := range a.order {
		if offset, ok := c.take(size); ok {
			a.used += size
			return Span{c.buffer, offset, n}, nil
		}
	}
	c, err := a.grow(size)
	if err != nil {
		return Span{}, fmt.Errorf("compute: arena %q: %w", a.name, err)
	}
	offset, _ := c.take(size)
	a.used += size
	return Span{c.buffer, offset, n}, nil
}

// grow adds a chunk with room for size bytes.
func (a *Arena) grow(size int64) (*chunk, error) {
	b, err := a.dev.Allocate(max(size, a.chunk), a.usage)
	if err != nil {
		return nil, err
	}
	c := &chunk{buffer: b, holes: []hole{{0, b.size}}, taken: map[int64]int64{}, sole: size > a.chunk}
	a.chunks[b] = c
	a.order = append(a.order, c)
	return c, nil
}

// take cuts size bytes from the first hole that has them.
func (c *chunk) take(size int64) (int64, bool) {
	for i, h := range c.holes {
		if h.size < size {
			continue
		}
		if h.size == size {
			c.holes = slices.Delete(c.holes, i, i+1)
		} else {
			c.holes[i] = hole{h.offset + size, h.size - size}
		}
		c.taken[h.offset] = size
		return h.offset, true
	}
	return 0, false
}

// give turns a span back into a hole and joins it with its neighbours.
func (c *chunk) give(offset int64) {
	size := c.taken[offset]
	delete(c.taken, offset)
	i, _ := slices.BinarySearchFunc(c.holes, offset, func(h hole, at int64) int { return int(min(max(h.offset-at, -1), 1)) })
	c.holes = slices.Insert(c.holes, i, hole{offset, size})
	if i+1 < len(c.holes) && offset+size == c.holes[i+1].offset {
		c.holes[i].size += c.holes[i+1].size
		c.holes = slices.Delete(c.holes, i+1, i+2)
	}
	if i > 0 && c.holes[i-1].offset+c.holes[i-1].size == offset {
		c.holes[i-1].size += c.holes[i].size
		c.holes = slices.Delete(c.holes, i, i+1)
	}
}

// Free gives back a span of Alloc, whole. Its bytes are handed out again once the work submitted so far is done.
// It panics when the span is not one of the arena's, or was freed before.
func (a *Arena) Free(s Span) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.chunks[s.Buffer]
	if c == nil || c.taken[s.Offset] != roundUp(s.Size) || a.isPending(c, s.Offset) {
		panic(fmt.Sprintf("compute: arena %q: free of a span that is not allocated: %d bytes at %d", a.name, s.Size, s.Offset))
	}
	a.used -= roundUp(s.Size)
	if c.sole {
		a.drop(c)
		return
	}
	a.pending = append(a.pending, freed{uint64(a.dev.lastTicket()), c, s.Offset})
	a.reclaim()
}

func (a *Arena) isPending(c *chunk, offset int64) bool {
	return slices.ContainsFunc(a.pending, func(f freed) bool { return f.chunk == c && f.offset == offset })
}

// reclaim makes the freed spans that the device has passed into holes.
func (a *Arena) reclaim() {
	n := 0
	for n < len(a.pending) && (a.pending[n].ticket <= a.dev.work.completed.Load() || a.dev.passed(&a.dev.work, a.pending[n].ticket)) {
		a.pending[n].chunk.give(a.pending[n].offset)
		n++
	}
	a.pending = slices.Delete(a.pending, 0, n)
}

// drop releases a chunk.
func (a *Arena) drop(c *chunk) {
	delete(a.chunks, c.buffer)
	a.order = slices.DeleteFunc(a.order, func(o *chunk) bool { return o == c })
	c.buffer.Release()
}

// Used is the bytes of the spans that are not freed, each rounded up to its alignment.
func (a *Arena) Used() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used
}

// Reserved is the bytes of device memory the arena holds.
func (a *Arena) Reserved() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	var sum int64
	for _, c := range a.order {
		sum += c.buffer.size
	}
	return sum
}

// Close releases all chunks, and with them every span, once the work submitted so far is done.
func (a *Arena) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.order {
		c.buffer.Release()
	}
	a.order, a.chunks, a.pending, a.used = nil, map[*Buffer]*chunk{}, nil, 0
}
