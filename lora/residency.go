package lora

import (
	"errors"
	"fmt"
	"unsafe"

	"lorikeet/compute"
	"lorikeet/shaders"
)

// ErrNoSlot means that an adapter can become resident only once another one is
// unpinned.
var ErrNoSlot = errors.New("lora: every slot is in use")

// arenaChunk is the smallest amount of device memory taken at a time.
const arenaChunk = 32 << 20

// matrixAlign is the alignment of every matrix on the device, in bytes.
const matrixAlign = 256

// Residency keeps adapters on the device. Each has a slot: a row of a table that
// tells the kernels where its matrices are. Adapters take the memory they need
// and no more, whatever their rank. All methods belong to one goroutine.
//
// The caller pins a slot from before it submits work that uses the slot until
// that work is done. A slot that is not pinned is thus free to be rewritten.
type Residency struct {
	device *compute.Device
	base   Base
	arena  *compute.Arena
	alloc  func(int64) (compute.Span, error) // of arena
	buffer *compute.Buffer
	table  []shaders.AdapterSite // [slot][SitesPerSlot], in the memory of buffer
	slots  []slot
	byID   map[uint64]int
	clock  uint64
	image  []byte // scratch of fill
}

type slot struct {
	adapter *Adapter // nil: empty
	memory  compute.Span
	pins    int
	used    uint64 // clock of the last Place
}

// NewResidency makes a residency with a number of slots, all empty.
func NewResidency(d *compute.Device, base Base, slots int) (*Residency, error) {
	r := &Residency{
		device: d, base: base, arena: d.NewArena("adapters", compute.Local, arenaChunk),
		slots: make([]slot, slots), byID: map[uint64]int{},
	}
	r.alloc = r.arena.Alloc
	rows := slots * r.SitesPerSlot()
	if rows < 1 {
		return nil, fmt.Errorf("lora: adapter table: %d slots of %d sites, want at least one of each", slots, r.SitesPerSlot())
	}
	buffer, err := d.Allocate(int64(rows)*int64(unsafe.Sizeof(shaders.AdapterSite{})), compute.HostWrite)
	if err != nil {
		return nil, fmt.Errorf("lora: adapter table: %w", err)
	}
	r.buffer = buffer
	r.table = unsafe.Slice((*shaders.AdapterSite)(unsafe.Pointer(unsafe.SliceData(buffer.Bytes()))), rows)
	clear(r.table)
	return r, nil
}

// Close frees everything once the device is done with it.
func (r *Residency) Close() {
	r.arena.Close()
	r.buffer.Release()
}

// Table is the device address of the table: AdapterSite [slot][SitesPerSlot].
func (r *Residency) Table() uint64 { return r.buffer.Address() }

// SitesPerSlot is the length of a row of the table.
func (r *Residency) SitesPerSlot() int { return r.base.Layers * int(Sites) }

// Rank is the largest rank of the adapter in a slot.
func (r *Residency) Rank(slot int) int { return r.slots[slot].adapter.Rank }

// Place makes an adapter resident and returns its slot. Where that takes room it
// drops the adapters that were placed longest ago and are not in use; it fails
// with ErrNoSlot when that cannot help until one is unpinned.
func (r *Residency) Place(a *Adapter) (int, error) {
	r.clock++
	if n, ok := r.byID[a.ID]; ok {
		r.slots[n].used = r.clock
		return n, nil
	}
	n := r.room()
	if n < 0 {
		return 0, ErrNoSlot
	}
	r.clear(n)
	if err := r.fill(n, a); err != nil {
		return 0, err
	}
	return n, nil
}

// Pin keeps the adapter in a slot resident until a matching Unpin.
func (r *Residency) Pin(slot int) { r.slots[slot].pins++ }

// Unpin takes back one Pin.
func (r *Residency) Unpin(slot int) { r.slots[slot].pins-- }

// Drop frees the slot of an adapter that is gone; it must not be pinned.
func (r *Residency) Drop(id uint64) {
	n, ok := r.byID[id]
	if !ok {
		return
	}
	if r.slots[n].pins > 0 {
		panic(fmt.Sprintf("lora: drop of adapter %q, which is in use", r.slots[n].adapter.Name))
	}
	r.clear(n)
}

// room is an empty slot, else the one to evict, else -1.
func (r *Residency) room() int {
	for n := range r.slots {
		if r.slots[n].adapter == nil {
			return n
		}
	}
	return r.victim()
}

// victim is the slot to evict, -1 when there is none.
func (r *Residency) victim() int {
	oldest := -1
	for n := range r.slots {
		s := &r.slots[n]
		if s.adapter == nil || s.pins > 0 || s.adapter.Pinned {
			continue
		}
		if oldest < 0 || s.used < r.slots[oldest].used {
			oldest = n
		}
	}
	return oldest
}

// clear empties a slot.
func (r *Residency) clear(n int) {
	s := &r.slots[n]
	if s.adapter == nil {
		return
	}
	delete(r.byID, s.adapter.ID)
	r.arena.Free(s.memory)
	clear(r.row(n))
	*s = slot{}
}

func (r *Residency) row(n int) []shaders.AdapterSite {
	return r.table[n*r.SitesPerSlot() : (n+1)*r.SitesPerSlot()]
}

// fill uploads an adapter and writes the row of its slot.
func (r *Residency) fill(n int, a *Adapter) error {
	memory, err := r.allocate(deviceBytes(a))
	if err != nil {
		return err
	}
	if err := r.upload(memory, a); err != nil {
		r.arena.Free(memory)
		return fmt.Errorf("lora: upload adapter %q: %w", a.Name, err)
	}
	at := memory.Address()
	for i, row := 0, r.row(n); i < len(row); i++ {
		if w := &a.Sites[i]; w.Rank > 0 {
			b := at + uint64(aligned(w.A))
			row[i] = shaders.AdapterSite{A: at, B: b, Rank: uint32(w.Rank), Scale: w.Scale}
			at = b + uint64(aligned(w.B))
		}
	}
	r.slots[n] = slot{adapter: a, memory: memory, used: r.clock}
	r.byID[a.ID] = n
	return nil
}

// allocate takes device memory, evicting other adapters if it must.
func (r *Residency) allocate(size int64) (compute.Span, error) {
	evicted := false
	for {
		memory, err := r.alloc(size)
		if err == nil || !errors.Is(err, compute.ErrOutOfMemory) {
			return memory, err
		}
		n := r.victim()
		if n < 0 {
			if evicted || r.pinned() {
				// What was evicted comes back when the device has passed it.
				return memory, ErrNoSlot
			}
			return memory, fmt.Errorf("lora: no room for an adapter of %d bytes: %w", size, err)
		}
		r.clear(n)
		evicted = true
	}
}

func (r *Residency) pinned() bool {
	for n := range r.slots {
		if r.slots[n].pins > 0 {
			return true
		}
	}
	return false
}

// upload writes all matrices in one piece, so that one transfer is enough.
func (r *Residency) upload(memory compute.Span, a *Adapter) error {
	image := memory.Bytes()
	staged := image == nil
	if staged {
		if int64(cap(r.image)) < memory.Size {
			r.image = make([]byte, memory.Size)
		}
		image = r.image[:memory.Size]
	}
	for i := range a.Sites {
		for _, matrix := range [][]byte{a.Sites[i].A, a.Sites[i].B} {
			copy(image, matrix)
			image = image[aligned(matrix):]
		}
	}
	if staged {
		return r.device.Upload(memory, r.image[:memory.Size])
	}
	return nil
}

// deviceBytes is what an adapter takes on the device.
func deviceBytes(a *Adapter) int64 {
	n := 0
	for i := range a.Sites {
		n += aligned(a.Sites[i].A) + aligned(a.Sites[i].B)
	}
	return int64(n)
}

func aligned(matrix []byte) int { return (len(matrix) + matrixAlign - 1) &^ (matrixAlign - 1) }

// Check says what is wrong with the books when no work is under way: every slot
// must be unpinned, and every byte accounted for.
func (r *Residency) Check() error {
	if r.pinned() {
		return errors.New("lora: a slot is pinned with nothing running")
	}
	return r.check()
}

func (r *Residency) check() error {
	var bytes int64
	adapters := 0
	for n := range r.slots {
		s := &r.slots[n]
		if s.pins < 0 {
			return fmt.Errorf("lora: slot %d is pinned %d times", n, s.pins)
		}
		if s.adapter == nil {
			continue
		}
		adapters++
		bytes += deviceBytes(s.adapter)
		if at, ok := r.byID[s.adapter.ID]; !ok || at != n {
			return fmt.Errorf("lora: adapter %q is in slot %d, but filed under %d", s.adapter.Name, n, at)
		}
	}
	if adapters != len(r.byID) {
		return fmt.Errorf("lora: %d slots are full, %d adapters are filed", adapters, len(r.byID))
	}
	if used := r.arena.Used(); used != bytes {
		return fmt.Errorf("lora: the adapters take %d bytes, %d are allocated", bytes, used)
	}
	return nil
}
