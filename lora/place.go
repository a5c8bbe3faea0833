package lora

import (
	"errors"
	"fmt"
	"slices"

	"lorikeet/compute"
)

// Place makes an adapter resident and returns its slot. now is the caller's
// clock, by which Idle tells how long adapters have not been asked for. When all
// slots are taken, the least recently placed adapter that nothing pins makes
// room. Place waits for nothing. It fails
//   - with ErrArriving while the adapter is being uploaded,
//   - with ErrNoSlot while every slot is pinned or has an upload under way,
//   - with ErrNoPages while pages are missing,
//   - with what its upload failed of, once; asked again, it tries again.
func (r *Residency) Place(a *Adapter, now uint64) (int, error) {
	r.settle()
	if n, ok := r.byID[a.ID]; ok {
		return r.found(n, now)
	}
	n := r.room()
	if n < 0 {
		return 0, ErrNoSlot
	}
	matrices := a.matrices()
	sizes := make([]int, len(matrices))
	for i := range matrices {
		sizes[i] = len(matrices[i])
	}
	place, ok := takeMemory(r.memory, sizes)
	if !ok {
		return 0, ErrNoPages
	}
	pieces := make([]compute.Piece, len(matrices))
	for i := range matrices {
		pieces[i] = compute.Piece{To: place.matrices[i], From: matrices[i]}
	}
	r.evict(n)
	r.slots[n] = slot{adapter: a, place: place, upload: r.uploads.start(pieces), used: now}
	r.byID[a.ID] = n
	r.arriving = append(r.arriving, n)
	r.pages += place.pages()
	return 0, ErrArriving
}

// found answers a Place of an adapter that has a slot.
func (r *Residency) found(n int, now uint64) (int, error) {
	s := &r.slots[n]
	if !r.oldestFirst {
		s.used = now
	}
	switch {
	case s.upload != nil:
		return 0, ErrArriving
	case s.failed != nil:
		err := fmt.Errorf("lora: upload adapter %q: %w", s.adapter.Name, s.failed)
		r.clear(n)
		return 0, err
	}
	return n, nil
}

// PlaceAndWait is Place for a caller that has nothing else to do meanwhile.
func (r *Residency) PlaceAndWait(a *Adapter, now uint64) (int, error) {
	for {
		n, err := r.Place(a, now)
		if !errors.Is(err, ErrArriving) {
			return n, err
		}
		if _, err := r.AwaitUpload(); err != nil {
			return 0, err
		}
	}
}

// AwaitUpload blocks until an upload under way has ended, however; it returns
// false at once when there is none. Its only error is that of a lost device.
func (r *Residency) AwaitUpload() (ended bool, err error) {
	if len(r.arriving) == 0 {
		return false, nil
	}
	u := r.slots[r.arriving[0]].upload
	<-u.done
	r.settle()
	if errors.Is(u.err, compute.ErrDeviceLost) {
		return true, fmt.Errorf("lora: upload: %w", u.err)
	}
	return true, nil
}

// settle takes note of the uploads that have ended.
func (r *Residency) settle() {
	for len(r.arriving) > 0 && r.slots[r.arriving[0]].upload.over() {
		n := r.arriving[0]
		r.arriving = slices.Delete(r.arriving, 0, 1)
		s := &r.slots[n]
		dropped := s.upload.dropped.Load()
		s.failed, s.upload = s.upload.err, nil
		switch {
		case dropped:
			r.clear(n)
		case s.failed == nil:
			r.writeRow(n)
		}
	}
}

// writeRow tells the kernels where the matrices of a slot's adapter are.
func (r *Residency) writeRow(n int) {
	a, matrices := r.slots[n].adapter, r.slots[n].place.matrices
	for i, row := 0, r.row(n); i < len(row); i++ {
		if w := &a.Sites[i]; w.Rank > 0 {
			row[i] = w.entry(matrices[0].Address(), matrices[1].Address())
			matrices = matrices[2:]
		}
	}
}
