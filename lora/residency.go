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

// ErrNoPages means that the free pages are too few or too scattered for an
// adapter: it can become resident once some are given back.
var ErrNoPages = errors.New("lora: not enough free pages")

// ErrArriving means that an adapter is being uploaded: it can be used later.
var ErrArriving = errors.New("lora: the adapter is on its way to the device")

// Residency keeps adapters on the device. Each has a slot: a row of a table that
// tells the kernels where its matrices are. Adapters take pages of a pool, as
// many as they need and no more, whatever their rank. All methods belong to one
// goroutine; the bytes are carried by another, which Close waits for.
//
// The caller pins a slot from before it submits work that uses the slot until
// that work is done. A slot that is not pinned is thus free to be rewritten, and
// its pages to be used for something else.
type Residency struct {
	device   *compute.Device
	base     Base
	buffer   *compute.Buffer
	table    []shaders.AdapterSite // [slot][SitesPerSlot], in the memory of buffer
	slots    []slot
	byID     map[uint64]int // adapters that Place can find
	arriving []int          // slots with an upload under way, in order
	pages    int            // that adapters hold
	evicted  uint64         // adapters that made room

	oldestFirst bool // see EvictOldest

	// From Attach on.
	memory   Memory
	uploader *compute.Uploader
	uploads  *uploads
}

// slot is empty, or its adapter is arriving, resident, or failed to arrive. An
// adapter that is dropped while it arrives keeps its slot until the upload ends.
type slot struct {
	adapter *Adapter // nil: empty
	place   placement
	upload  *upload // nil: it has ended
	failed  error   // what the next Place of the adapter answers
	pins    int
	used    uint64 // now of the last Place
}

// NewResidency makes a residency with a number of slots, all empty. The table
// is there from now on; before the first Place it must be told by Attach where
// adapters may lie.
func NewResidency(d *compute.Device, base Base, slots int) (*Residency, error) {
	r := &Residency{device: d, base: base, slots: make([]slot, slots), byID: map[uint64]int{}}
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

// Attach gives the residency the memory of its adapters. It fails when the
// memory, empty still, cannot hold the largest adapter within the limits and
// one page of a sequence beside it.
func (r *Residency) Attach(m Memory, largest Limits) error {
	first, ok := m.TakeRun(1)
	if ok {
		var p placement
		if p, ok = takeMemory(m, r.base.sizes(largest)); ok {
			p.give(m)
		}
		m.GiveRun(first, 1)
	}
	if !ok {
		return fmt.Errorf("lora: the page pool cannot hold one adapter of rank %d (%.1f MiB) and one page of a sequence; "+
			"raise --mem-fraction-static or lower --max-lora-rank", largest.MaxRank, float64(r.base.Bytes(largest))/(1<<20))
	}
	uploader, err := r.device.NewUploader()
	if err != nil {
		return fmt.Errorf("lora: %w", err)
	}
	r.memory, r.uploader = m, uploader
	r.uploads = newUploads(sendWith(uploader), len(r.slots))
	return nil
}

// EvictOldest makes the adapter that became resident first the first to make
// room, however lately it was placed again. It is to be called before the first
// Place.
func (r *Residency) EvictOldest() { r.oldestFirst = true }

// Close ends the uploads and frees the table once the device is done with it.
// The memory must live until then.
func (r *Residency) Close() {
	if r.uploads != nil {
		for _, n := range r.arriving {
			r.slots[n].upload.dropped.Store(true)
		}
		r.uploads.close()
		r.uploader.Close()
	}
	r.buffer.Release()
}

// Table is the device address of the table: AdapterSite [slot][SitesPerSlot].
func (r *Residency) Table() uint64 { return r.buffer.Address() }

// SitesPerSlot is the length of a row of the table.
func (r *Residency) SitesPerSlot() int { return r.base.SitesPerSlot() }

// Rank is the most products that an expand of the adapter in a slot sums up: its
// largest rank, and one more for a bias.
func (r *Residency) Rank(slot int) int { return r.slots[slot].adapter.Products }

// Pin keeps the adapter in a slot resident until a matching Unpin.
func (r *Residency) Pin(slot int) { r.slots[slot].pins++ }

// Unpin takes back one Pin.
func (r *Residency) Unpin(slot int) { r.slots[slot].pins-- }

// Drop frees the slot and the pages of an adapter that is gone, as soon as its
// upload is over; it must not be pinned.
func (r *Residency) Drop(id uint64) {
	r.settle()
	n, ok := r.byID[id]
	if !ok {
		return
	}
	s := &r.slots[n]
	switch {
	case s.pins > 0:
		panic(fmt.Sprintf("lora: drop of adapter %q, which is in use", s.adapter.Name))
	case s.upload != nil:
		s.upload.dropped.Store(true)
		delete(r.byID, id)
	default:
		r.clear(n)
	}
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
		if s.adapter == nil || s.upload != nil || s.pins > 0 || s.adapter.Pinned {
			continue
		}
		if oldest < 0 || s.used < r.slots[oldest].used {
			oldest = n
		}
	}
	return oldest
}

// Idle is when the least recently placed adapter that nothing pins was placed;
// false when there is none. One that is arriving is not idle.
func (r *Residency) Idle() (used uint64, ok bool) {
	r.settle()
	n := r.victim()
	if n < 0 {
		return 0, false
	}
	return r.slots[n].used, true
}

// EvictIdle frees the slot and the pages of that adapter.
func (r *Residency) EvictIdle() {
	if n := r.victim(); n >= 0 {
		r.evict(n)
	}
}

// Evicted counts the adapters that have made room for others so far.
func (r *Residency) Evicted() uint64 { return r.evicted }

// evict empties a slot for another adapter.
func (r *Residency) evict(n int) {
	if r.slots[n].adapter != nil {
		r.evicted++
	}
	r.clear(n)
}

// Resident counts the adapters that have a slot, those on their way included.
func (r *Residency) Resident() int { return len(r.byID) }

// Pages counts the pages that adapters hold, those on their way included.
func (r *Residency) Pages() int { return r.pages }

// clear empties a slot.
func (r *Residency) clear(n int) {
	s := &r.slots[n]
	if s.adapter == nil {
		return
	}
	if r.byID[s.adapter.ID] == n {
		delete(r.byID, s.adapter.ID)
	}
	s.place.give(r.memory)
	r.pages -= s.place.pages()
	clear(r.row(n))
	*s = slot{}
}

func (r *Residency) row(n int) []shaders.AdapterSite {
	return r.table[n*r.SitesPerSlot() : (n+1)*r.SitesPerSlot()]
}

func (r *Residency) pinned() bool {
	for n := range r.slots {
		if r.slots[n].pins > 0 {
			return true
		}
	}
	return false
}

// Check says what is wrong with the books when no work is under way: every slot
// must be unpinned, and every byte accounted for.
func (r *Residency) Check() error {
	if r.pinned() {
		return errors.New("lora: a slot is pinned with nothing running")
	}
	return r.check()
}

func (r *Residency) check() error {
	pages, adapters, arriving := 0, 0, 0
	for n := range r.slots {
		s := &r.slots[n]
		if s.pins < 0 {
			return fmt.Errorf("lora: slot %d is pinned %d times", n, s.pins)
		}
		if s.adapter == nil {
			continue
		}
		pages += s.place.pages()
		if s.upload != nil {
			arriving++
			if s.upload.dropped.Load() {
				continue
			}
		}
		adapters++
		if at, ok := r.byID[s.adapter.ID]; !ok || at != n {
			return fmt.Errorf("lora: adapter %q is in slot %d, but filed under %d", s.adapter.Name, n, at)
		}
	}
	if arriving != len(r.arriving) {
		return fmt.Errorf("lora: %d slots wait for uploads, %d are noted", arriving, len(r.arriving))
	}
	if adapters != len(r.byID) {
		return fmt.Errorf("lora: %d slots are full, %d adapters are filed", adapters, len(r.byID))
	}
	if pages != r.pages {
		return fmt.Errorf("lora: the adapters take %d pages, %d are booked", pages, r.pages)
	}
	return nil
}
