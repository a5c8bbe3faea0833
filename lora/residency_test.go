package lora

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
	"lorikeet/shaders"
)

// made is an adapter with random bytes at random sites.
func made(r *rand.Rand, id uint64, base Base) *Adapter {
	a := &Adapter{ID: id, Name: "made", Type: base.Type, Sites: make([]Weights, base.Layers*int(Sites))}
	random := func(rows, columns int) []byte {
		data := make([]byte, rows*stride(columns)*base.Type.Size())
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		return data
	}
	for i := range a.Sites {
		if site := Site(i % int(Sites)); i == 0 || r.IntN(3) > 0 {
			rank := 1 + r.IntN(9)
			a.Sites[i] = Weights{rank, r.Float32(), random(rank, base.In[site]), random(rank, base.Out[site])}
			a.Rank = max(a.Rank, rank)
		}
	}
	return a
}

// requireResident checks the row of a slot and the memory it points to.
func requireResident(t *testing.T, d *compute.Device, r *Residency, n int, a *Adapter) {
	t.Helper()
	require.Equal(t, a.Rank, r.Rank(n))
	memory := r.slots[n].memory
	on := make([]byte, memory.Size)
	require.NoError(t, d.Download(on, memory))
	for i, w := range a.Sites {
		row := r.row(n)[i]
		require.Equal(t, uint32(w.Rank), row.Rank, "site %d", i)
		if w.Rank == 0 {
			require.Equal(t, shaders.AdapterSite{}, row)
			continue
		}
		require.Equal(t, math.Float32bits(w.Scale), math.Float32bits(row.Scale))
		require.Zero(t, row.A%matrixAlign)
		require.Zero(t, row.B%matrixAlign)
		require.Equal(t, w.A, on[row.A-memory.Address():][:len(w.A)], "A of site %d", i)
		require.Equal(t, w.B, on[row.B-memory.Address():][:len(w.B)], "B of site %d", i)
	}
}

func newResidency(t *testing.T, base Base, slots int) (*compute.Device, *Residency) {
	d := computetest.Device(t)
	r, err := NewResidency(d, base, slots)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return d, r
}

func place(t *testing.T, r *Residency, a *Adapter) int {
	t.Helper()
	n, err := r.Place(a)
	require.NoError(t, err)
	return n
}

func TestResidency(t *testing.T) {
	rnd := random(t)
	base := testBase(shaders.BF16)
	d, r := newResidency(t, base, 2)
	require.Equal(t, base.Layers*7, r.SitesPerSlot())
	require.Equal(t, uintptr(2*r.SitesPerSlot())*unsafe.Sizeof(shaders.AdapterSite{}), uintptr(r.buffer.Size()))
	a, b, c := made(rnd, 1, base), made(rnd, 2, base), made(rnd, 3, base)
	first, second := place(t, r, a), place(t, r, b)
	require.NotEqual(t, first, second)
	requireResident(t, d, r, first, a)
	requireResident(t, d, r, second, b)

	require.Equal(t, first, place(t, r, a), "it is there already")
	require.Equal(t, second, place(t, r, c), "b was placed longest ago")
	requireResident(t, d, r, second, c)
	requireResident(t, d, r, first, a)

	r.Pin(first)
	require.Equal(t, second, place(t, r, b))
	r.Pin(second)
	r.Pin(second)
	_, err := r.Place(c)
	require.ErrorIs(t, err, ErrNoSlot)
	requireResident(t, d, r, first, a)
	r.Unpin(second)
	_, err = r.Place(c)
	require.ErrorIs(t, err, ErrNoSlot)
	require.Error(t, r.Check())
	r.Unpin(second)
	require.Equal(t, second, place(t, r, c))
	require.Panics(t, func() { r.Drop(1) })
	r.Unpin(first)
	require.NoError(t, r.Check())

	r.Drop(1)
	r.Drop(1)
	require.NoError(t, r.Check())
	require.Len(t, r.byID, 1)
	require.Equal(t, make([]shaders.AdapterSite, r.SitesPerSlot()), r.row(first))
	r.Drop(3)
	require.Zero(t, r.arena.Used())
}

func TestResidencyPinnedAdapter(t *testing.T) {
	rnd := random(t)
	base := testBase(shaders.F16)
	_, r := newResidency(t, base, 2)
	pinned, a, b := made(rnd, 1, base), made(rnd, 2, base), made(rnd, 3, base)
	pinned.Pinned = true
	at := place(t, r, pinned)
	require.NotEqual(t, at, place(t, r, a))
	require.NotEqual(t, at, place(t, r, b))
	require.Equal(t, at, place(t, r, pinned))
}

// TestResidencyOutOfMemory lets the device run out of memory.
func TestResidencyOutOfMemory(t *testing.T) {
	rnd := random(t)
	base := testBase(shaders.F32)
	_, r := newResidency(t, base, 4)
	limit := int64(0)
	r.alloc = func(n int64) (compute.Span, error) {
		if r.arena.Used()+n > limit {
			return compute.Span{}, compute.ErrOutOfMemory
		}
		return r.arena.Alloc(n)
	}
	a, b, c := made(rnd, 1, base), made(rnd, 2, base), made(rnd, 3, base)
	limit = max(deviceBytes(a)+deviceBytes(b), deviceBytes(c))
	first, second := place(t, r, a), place(t, r, b)
	r.Pin(first)
	r.Pin(second)
	_, err := r.Place(c)
	require.ErrorIs(t, err, ErrNoSlot, "the slots are empty, but the memory is in use")
	r.Unpin(first)
	r.Unpin(second)
	at := place(t, r, c)
	requireResident(t, r.device, r, at, c)
	require.NoError(t, r.Check())

	limit = 0
	_, err = r.Place(a)
	require.ErrorIs(t, err, ErrNoSlot, "what was evicted may come back later")
	_, err = r.Place(a)
	require.ErrorIs(t, err, compute.ErrOutOfMemory)
	require.NoError(t, r.Check())
}

func TestNewResidencyRefuses(t *testing.T) {
	_, err := NewResidency(computetest.Device(t), testBase(shaders.F16), 0)
	require.ErrorContains(t, err, "0 slots")
}

// TestResidencyModel runs random operations on a residency and on a model of
// it, a list in order of placing.
func TestResidencyModel(t *testing.T) {
	rnd := random(t)
	base := testBase(shaders.F32)
	base.Layers = 1
	d, r := newResidency(t, base, 3)
	type resident struct {
		adapter *Adapter
		slot    int
		pins    int
	}
	var adapters []*Adapter
	for id := range uint64(7) {
		adapters = append(adapters, made(rnd, id+1, base))
	}
	adapters[0].Pinned = true
	var order []resident // placed longest ago first
	find := func(id uint64) int {
		for i, s := range order {
			if s.adapter.ID == id {
				return i
			}
		}
		return -1
	}
	remove := func(i int) resident {
		s := order[i]
		order = append(order[:i:i], order[i+1:]...)
		return s
	}
	for range 300 {
		a := adapters[rnd.IntN(len(adapters))]
		at := find(a.ID)
		switch rnd.IntN(4) {
		case 0, 1:
			slot, err := r.Place(a)
			switch {
			case at >= 0:
				require.Equal(t, order[at].slot, slot)
				order = append(order, remove(at))
			case err == nil:
				if len(order) == 3 {
					victim := 0
					for order[victim].pins > 0 || order[victim].adapter.Pinned {
						victim++
					}
					require.Equal(t, order[victim].slot, slot)
					remove(victim)
				}
				order = append(order, resident{adapter: a, slot: slot})
			default:
				require.ErrorIs(t, err, ErrNoSlot)
				require.Len(t, order, 3)
				for _, s := range order {
					require.True(t, s.pins > 0 || s.adapter.Pinned)
				}
			}
		case 2:
			if at >= 0 && order[at].pins > 0 && rnd.IntN(3) > 0 {
				r.Unpin(order[at].slot)
				order[at].pins--
			} else if at >= 0 {
				r.Pin(order[at].slot)
				order[at].pins++
			}
		case 3:
			if at < 0 || order[at].pins == 0 {
				r.Drop(a.ID)
				if at >= 0 {
					remove(at)
				}
			}
		}
		require.NoError(t, r.check())
		require.Len(t, r.byID, len(order))
		for _, s := range order {
			requireResident(t, d, r, s.slot, s.adapter)
		}
	}
}
