package engine

import (
	"fmt"

	"lorikeet/lora"
	"lorikeet/model"
)

// fakeAdapterPages is what an adapter takes of the pool.
const fakeAdapterPages = 2

// fakeSlots places adapters in a pool of pages without a device. It belongs to
// the engine's goroutine.
type fakeSlots struct {
	pages   *model.Pages
	memory  fakeMemory
	slots   []fakeSlot
	delay   int // calls of Place that an upload takes
	awaits  int // uploads that were waited for
	evicted uint64
}

type fakeSlot struct {
	adapter *lora.Adapter // nil: empty
	first   int32         // page
	pins    int
	used    uint64
	left    int // calls of Place until the upload has ended
}

func newFakeSlots(n int, limits model.Limits) *fakeSlots {
	return &fakeSlots{
		slots: make([]fakeSlot, n), pages: model.NewPages(limits.Pages, limits.Pages), memory: make(fakeMemory, limits.Pages),
	}
}

// slotID is the id of the adapter in a slot.
func (f *fakeSlots) slotID(slot int) uint64 {
	if slot == model.Base {
		return 0
	}
	return f.slots[slot].adapter.ID
}

// adapter is the adapter in a slot as a step finds it: it reads its pages.
func (f *fakeSlots) adapter(slot int, m *fakeModel) uint64 {
	if slot == model.Base {
		return 0
	}
	s := &f.slots[slot]
	if s.adapter == nil || s.left > 0 || s.pins == 0 {
		m.wrong("slot %d is used: empty %v, %d calls from its end, %d pins", slot, s.adapter == nil, s.left, s.pins)
		return 0
	}
	for page := s.first; page < s.first+fakeAdapterPages; page++ {
		if f.memory[page][0] != f.image(s) {
			m.wrong("page %d does not hold adapter %d", page, s.adapter.ID)
		}
	}
	return s.adapter.ID
}

// image is what an adapter's pages hold.
func (f *fakeSlots) image(s *fakeSlot) cell { return cell{history(s.adapter.ID), -1} }

// arrive ends an upload.
func (f *fakeSlots) arrive(s *fakeSlot) {
	s.left = 0
	for page := s.first; page < s.first+fakeAdapterPages; page++ {
		f.memory[page][0] = f.image(s)
	}
}

// progress brings uploads closer to their end.
func (f *fakeSlots) progress() {
	for i := range f.slots {
		if s := &f.slots[i]; s.left > 0 {
			if s.left--; s.left == 0 {
				f.arrive(s)
			}
		}
	}
}

func (f *fakeSlots) Place(a *lora.Adapter, now uint64) (int, error) {
	defer f.progress()
	at := -1
	for i := range f.slots {
		s := &f.slots[i]
		if s.adapter == nil {
			at = i
		} else if s.adapter.ID == a.ID {
			s.used = now
			if s.left > 0 {
				return 0, lora.ErrArriving
			}
			return i, nil
		}
	}
	if at < 0 {
		at = f.victim()
	}
	if at < 0 {
		return 0, lora.ErrNoSlot
	}
	first, ok := f.pages.TakeRun(fakeAdapterPages)
	if !ok {
		return 0, lora.ErrNoPages
	}
	f.evict(at)
	f.slots[at] = fakeSlot{adapter: a, first: first, used: now, left: f.delay}
	if f.delay > 0 {
		return 0, lora.ErrArriving
	}
	f.arrive(&f.slots[at])
	return at, nil
}

func (f *fakeSlots) Pin(slot int)      { f.slots[slot].pins++ }
func (f *fakeSlots) Unpin(slot int)    { f.slots[slot].pins-- }
func (f *fakeSlots) Rank(slot int) int { return 8 }

// AwaitUpload ends one upload, of the slot that comes first.
func (f *fakeSlots) AwaitUpload() (bool, error) {
	for i := range f.slots {
		if s := &f.slots[i]; s.left > 0 {
			f.awaits++
			f.arrive(s)
			return true, nil
		}
	}
	return false, nil
}

func (f *fakeSlots) Idle() (uint64, bool) {
	at := f.victim()
	if at < 0 {
		return 0, false
	}
	return f.slots[at].used, true
}

func (f *fakeSlots) EvictIdle()      { f.evict(f.victim()) }
func (f *fakeSlots) Evicted() uint64 { return f.evicted }

func (f *fakeSlots) evict(slot int) {
	if f.slots[slot].adapter != nil {
		f.evicted++
	}
	f.empty(slot)
}

// victim is the least recently placed slot that may be emptied, -1 without one.
func (f *fakeSlots) victim() int {
	at := -1
	for i, s := range f.slots {
		if s.adapter == nil || s.pins > 0 || s.left > 0 || s.adapter.Pinned {
			continue
		}
		if at < 0 || s.used < f.slots[at].used {
			at = i
		}
	}
	return at
}

func (f *fakeSlots) empty(slot int) {
	if s := &f.slots[slot]; s.adapter != nil {
		f.pages.GiveRun(s.first, fakeAdapterPages)
		*s = fakeSlot{}
	}
}

func (f *fakeSlots) Drop(id uint64) {
	for i, s := range f.slots {
		if s.adapter != nil && s.adapter.ID == id {
			f.empty(i)
		}
	}
}

func (f *fakeSlots) Pages() int { return f.Resident() * fakeAdapterPages }

func (f *fakeSlots) Resident() int {
	n := 0
	for _, s := range f.slots {
		if s.adapter != nil {
			n++
		}
	}
	return n
}

func (f *fakeSlots) Check() error {
	for i, s := range f.slots {
		if s.pins != 0 {
			return fmt.Errorf("slot %d has %d pins", i, s.pins)
		}
	}
	return nil
}
