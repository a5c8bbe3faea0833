package lora

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
	"lorikeet/shaders"
)

// made is an adapter with random bytes at random sites.
func made(r *rand.Rand, id uint64, base Base) *Adapter {
	sites := make([]Weights, base.SitesPerSlot())
	random := func(rows, columns int) []byte {
		data := make([]byte, rows*stride(columns)*base.Type.Size())
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		return data
	}
	for i := range sites {
		if _, site := base.site(i); i == 0 || r.IntN(3) > 0 {
			w := Weights{Rank: 1 + r.IntN(9), Scale: r.Float32(), Bias: r.IntN(3) == 0}
			w.A, w.B = random(w.Rank, base.In[site]), random(w.Products(), base.Out[site])
			sites[i] = w
		}
	}
	a := NewAdapter("made", "", base.Type, sites, base)
	a.ID = id
	return a
}

// requireResident checks the row of a slot and the memory it points to.
func requireResident(t *testing.T, d *compute.Device, r *Residency, n int, a *Adapter) {
	t.Helper()
	require.Equal(t, a.Products, r.Rank(n))
	matrices := r.slots[n].place.matrices
	on := func(size int) (uint64, []byte) {
		at := matrices[0]
		matrices = matrices[1:]
		data := make([]byte, size)
		require.NoError(t, d.Download(data, at))
		return at.Address(), data
	}
	for i, w := range a.Sites {
		row := r.row(n)[i]
		require.Equal(t, w.Rank, int(row.Rank)-int(row.Biases), "site %d", i)
		require.Equal(t, w.Bias, row.Biases == 1, "site %d", i)
		if w.Rank == 0 {
			require.Equal(t, shaders.AdapterSite{}, row)
			continue
		}
		require.Equal(t, math.Float32bits(w.Scale), math.Float32bits(row.Scale))
		require.Zero(t, row.A%matrixAlign)
		require.Zero(t, row.B%matrixAlign)
		for _, m := range []struct {
			at   uint64
			want []byte
		}{{row.A, w.A}, {row.B, w.B}} {
			at, data := on(len(m.want))
			require.Equal(t, at, m.at)
			require.Equal(t, m.want, data, "site %d", i)
		}
	}
}

// now is the clock of the tests: no two placements are of one time.
var now uint64

func newResidency(t *testing.T, base Base, slots, pages int) (*compute.Device, *Residency, *testMemory) {
	d := computetest.Device(t)
	r, err := NewResidency(d, base, slots)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	m := newTestMemory(t, d, 1, pages)
	require.NoError(t, r.Attach(m, testLimits))
	return d, r, m
}

func try(r *Residency, a *Adapter) (int, error) {
	now++
	return r.PlaceAndWait(a, now)
}

func place(t *testing.T, r *Residency, a *Adapter) int {
	t.Helper()
	n, err := try(r, a)
	require.NoError(t, err)
	return n
}

func TestResidency(t *testing.T) {
	rnd := random(t)
	base := testBase(shaders.BF16)
	d, r, m := newResidency(t, base, 2, 1000)
	require.Equal(t, base.Layers*7+2, r.SitesPerSlot())
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
	_, err := try(r, c)
	require.ErrorIs(t, err, ErrNoSlot)
	requireResident(t, d, r, first, a)
	r.Unpin(second)
	_, err = try(r, c)
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
	require.Zero(t, r.Pages())
	require.Equal(t, 1000, m.free())
}

func TestResidencyPinnedAdapter(t *testing.T) {
	rnd := random(t)
	base := testBase(shaders.F16)
	_, r, _ := newResidency(t, base, 2, 1000)
	pinned, a, b := made(rnd, 1, base), made(rnd, 2, base), made(rnd, 3, base)
	pinned.Pinned = true
	at := place(t, r, pinned)
	require.NotEqual(t, at, place(t, r, a))
	require.NotEqual(t, at, place(t, r, b))
	require.Equal(t, at, place(t, r, pinned))
}

// TestResidencyEvictOldest places the first adapter again before there is need of
// a slot: it makes room all the same.
func TestResidencyEvictOldest(t *testing.T) {
	rnd := random(t)
	base := testBase(shaders.F16)
	_, r, _ := newResidency(t, base, 2, 1000)
	r.EvictOldest()
	a, b, c := made(rnd, 1, base), made(rnd, 2, base), made(rnd, 3, base)
	first, second := place(t, r, a), place(t, r, b)
	require.Equal(t, first, place(t, r, a))
	require.Equal(t, first, place(t, r, c))
	require.Equal(t, second, place(t, r, b))
	require.Equal(t, 2, r.Resident())
}

// TestResidencyNoPages lets the pool run out of pages.
func TestResidencyNoPages(t *testing.T) {
	rnd := random(t)
	base := testBase(shaders.F32)
	d, r, m := newResidency(t, base, 4, 250)
	a, b := made(rnd, 1, base), made(rnd, 2, base)
	first := place(t, r, a)
	r.Pin(first)
	m.TakeRun(250 - r.Pages()) // what sequences might hold
	_, err := try(r, b)
	require.ErrorIs(t, err, ErrNoPages)
	_, idle := r.Idle()
	require.False(t, idle)
	r.Unpin(first)
	used, idle := r.Idle()
	require.True(t, idle)
	require.Equal(t, now-1, used)
	r.EvictIdle()
	r.EvictIdle() // there is none left
	require.Zero(t, r.Pages())
	small := made(rnd, 3, base)
	small.Sites = slices.Clone(a.Sites)
	for i := range small.Sites[1:] {
		small.Sites[1+i] = Weights{}
	}
	small.Rank = small.Sites[0].Rank
	requireResident(t, d, r, place(t, r, small), small)
	require.NoError(t, r.Check())
}

func TestAttachRefuses(t *testing.T) {
	d := computetest.Device(t)
	base := testBase(shaders.F16)
	r, err := NewResidency(d, base, 1)
	require.NoError(t, err)
	defer r.Close()
	need := int((base.DeviceBytes(testLimits) + testPage - 1) / testPage)
	m := newTestMemory(t, d, 1, need)
	require.ErrorContains(t, r.Attach(m, testLimits), "cannot hold one adapter of rank 16")
	require.Equal(t, need, m.free())
	m = newTestMemory(t, d, 1, need+1)
	require.NoError(t, r.Attach(m, testLimits))
	require.Equal(t, need+1, m.free())
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
	d, r, m := newResidency(t, base, 3, 1000)
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
			slot, err := try(r, a)
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
		require.Equal(t, len(m.used), m.free()+r.Pages())
		require.Len(t, r.byID, len(order))
		for _, s := range order {
			requireResident(t, d, r, s.slot, s.adapter)
		}
	}
}
