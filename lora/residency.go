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
// goroutine.
//
// The caller pins a slot from before it submits work that uses the slot until
// that work is done. A slot that is not pinned is thus free to be rewritten, and
// its pages to be used for something else.
type Residency struct {
	device *compute.Device
	base   Base
	buffer *compute.Buffer
	table  []shaders.AdapterSite // [slot][SitesPerSlot], in the memory of buffer
	memory Memory                // nil until Attach
	slots  []slot
	byID   map[uint64]int
	pages  int // that adapters hold
}

type slot struct {
	adapter *Adapter // nil: empty
	place   placement
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
	r.memory = m
	return nil
}

// Close frees the table once the device is done with it.
func (r *Residency) Close() { r.buffer.Release() }

// Table is the device address of the table: AdapterSite [slot][SitesPerSlot].
func (r *Residency) Table() uint64 { return r.buffer.Address() }

// SitesPerSlot is the length of a row of the table.
func (r *Residency) SitesPerSlot() int { return r.base.SitesPerSlot() }

// Rank is the most products that an expand of the adapter in a slot sums up: its
// largest rank, and one more for a bias.
func (r *Residency) Rank(slot int) int { return r.slots[slot].adapter.Products }

// Place makes an adapter resident and returns its slot. now is the caller's
// clock, by which Idle tells how long adapters have not been asked for. When all
// slots are taken, the least recently placed adapter that nothing pins makes
// room. Place fails with ErrNoSlot when there is none, and with ErrNoPages when
// pages are missing.
func (r *Residency) Place(a *Adapter, now uint64) (int, error) {
	if n, ok := r.byID[a.ID]; ok {
		r.slots[n].used = now
		return n, nil
	}
	n := r.room()
	if n < 0 {
		return 0, ErrNoSlot
	}
	place, ok := takeMemory(r.memory, a.sizes())
	if !ok {
		return 0, ErrNoPages
	}
	if err := r.upload(a, place); err != nil {
		place.give(r.memory)
		return 0, fmt.Errorf("lora: upload adapter %q: %w", a.Name, err)
	}
	r.clear(n)
	r.fill(n, a, place)
	r.slots[n].used = now
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

// Idle is when the least recently placed adapter that nothing pins was placed;
// false when there is none.
func (r *Residency) Idle() (used uint64, ok bool) {
	n := r.victim()
	if n < 0 {
		return 0, false
	}
	return r.slots[n].used, true
}

// EvictIdle frees the slot and the pages of that adapter.
func (r *Residency) EvictIdle() {
	if n := r.victim(); n >= 0 {
		r.clear(n)
	}
}

// AwaitUpload blocks until an upload under way has finished; it returns at once
// when there is none.
func (r *Residency) AwaitUpload() error { return nil }

// Pages counts the pages that adapters hold.
func (r *Residency) Pages() int { return r.pages }

// clear empties a slot.
func (r *Residency) clear(n int) {
	s := &r.slots[n]
	if s.adapter == nil {
		return
	}
	delete(r.byID, s.adapter.ID)
	s.place.give(r.memory)
	r.pages -= s.place.pages()
	clear(r.row(n))
	*s = slot{}
}

func (r *Residency) row(n int) []shaders.AdapterSite {
	return r.table[n*r.SitesPerSlot() : (n+1)*r.SitesPerSlot()]
}

// fill files an adapter under a slot and writes the slot's row.
func (r *Residency) fill(n int, a *Adapter, place placement) {
	matrices := place.matrices
	for i, row := 0, r.row(n); i < len(row); i++ {
		if w := &a.Sites[i]; w.Rank > 0 {
			row[i] = w.entry(matrices[0].Address(), matrices[1].Address())
			matrices = matrices[2:]
		}
	}
	r.slots[n] = slot{adapter: a, place: place}
	r.byID[a.ID] = n
	r.pages += place.pages()
}

// upload writes an adapter's matrices.
func (r *Residency) upload(a *Adapter, place placement) error {
	matrices := place.matrices
	for i := range a.Sites {
		w := &a.Sites[i]
		if w.Rank == 0 {
			continue
		}
		for _, bytes := range [][]byte{w.A, w.B} {
			if err := r.device.Upload(matrices[0], bytes); err != nil {
				return err
			}
			matrices = matrices[1:]
		}
	}
	return nil
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
	pages, adapters := 0, 0
	for n := range r.slots {
		s := &r.slots[n]
		if s.pins < 0 {
			return fmt.Errorf("lora: slot %d is pinned %d times", n, s.pins)
		}
		if s.adapter == nil {
			continue
		}
		adapters++
		pages += s.place.pages()
		if at, ok := r.byID[s.adapter.ID]; !ok || at != n {
			return fmt.Errorf("lora: adapter %q is in slot %d, but filed under %d", s.adapter.Name, n, at)
		}
	}
	if adapters != len(r.byID) {
		return fmt.Errorf("lora: %d slots are full, %d adapters are filed", adapters, len(r.byID))
	}
	if pages != r.pages {
		return fmt.Errorf("lora: the adapters take %d pages, %d are booked", pages, r.pages)
	}
	return nil
}
