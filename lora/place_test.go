package lora

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
	"lorikeet/shaders"
)

// gate lets uploads happen one by one: each says that it has begun and waits for
// a word, nil to happen or an error to fail.
type gate struct {
	begun chan struct{}
	word  chan error
}

func gateUploads(t *testing.T, r *Residency) *gate {
	g := &gate{make(chan struct{}), make(chan error)}
	open := make(chan struct{}) // at the end of the test
	t.Cleanup(func() { close(open) })
	send := r.uploads.send
	r.uploads.close()
	r.uploads = newUploads(func(pieces []compute.Piece) error {
		select {
		case g.begun <- struct{}{}:
		case <-open:
		}
		select {
		case err := <-g.word:
			if err != nil {
				return err
			}
		case <-open:
		}
		return send(pieces)
	}, len(r.slots))
	return g
}

// pass lets the next upload begin and gives it a word.
func (g *gate) pass(err error) {
	<-g.begun
	g.word <- err
}

// await waits for the end of an upload under way.
func await(t *testing.T, r *Residency) {
	t.Helper()
	ended, err := r.AwaitUpload()
	require.NoError(t, err)
	require.True(t, ended)
}

func TestPlaceDoesNotWait(t *testing.T) {
	rnd := random(t)
	base := testBase(shaders.BF16)
	d, r, _ := newResidency(t, base, 3, 1000)
	resident, a, b := made(rnd, 1, base), made(rnd, 2, base), made(rnd, 3, base)
	first := place(t, r, resident)
	ended, err := r.AwaitUpload()
	require.NoError(t, err)
	require.False(t, ended, "there is none")
	g := gateUploads(t, r)
	for range 3 {
		_, err := r.Place(a, 100)
		require.ErrorIs(t, err, ErrArriving)
		_, err = r.Place(b, 100)
		require.ErrorIs(t, err, ErrArriving)
		n, err := r.Place(resident, 50)
		require.NoError(t, err)
		require.Equal(t, first, n)
	}
	_, err = r.Place(made(rnd, 4, base), 100)
	require.ErrorIs(t, err, ErrArriving, "the resident one makes room")
	require.EqualValues(t, 1, r.Evicted())
	_, err = r.Place(resident, 100)
	require.ErrorIs(t, err, ErrNoSlot, "those that arrive do not")
	_, idle := r.Idle()
	require.False(t, idle)
	held := r.Pages()
	r.EvictIdle()
	require.Equal(t, held, r.Pages())
	require.Equal(t, make([]shaders.AdapterSite, len(r.table)), r.table, "no row tells of what has not arrived")

	g.pass(nil)
	await(t, r)
	n, err := r.Place(a, 101)
	require.NoError(t, err, "the first of them has arrived")
	requireResident(t, d, r, n, a)
	_, err = r.Place(b, 100)
	require.ErrorIs(t, err, ErrArriving)
	g.pass(nil)
	g.pass(nil)
	await(t, r)
	n, err = r.Place(b, 102)
	require.NoError(t, err)
	requireResident(t, d, r, n, b)
	require.NoError(t, r.Check())
}

// TestUploadFails gives an upload's error to the one that asks for the adapter,
// once, and to nobody else.
func TestUploadFails(t *testing.T) {
	rnd := random(t)
	base := testBase(shaders.F16)
	d, r, m := newResidency(t, base, 2, 1000)
	g := gateUploads(t, r)
	a, b := made(rnd, 1, base), made(rnd, 2, base)
	broken := errors.New("broken")
	for range 3 {
		_, err := r.Place(a, 1)
		require.ErrorIs(t, err, ErrArriving)
		_, err = r.Place(b, 2)
		require.ErrorIs(t, err, ErrArriving)
		g.pass(broken)
		g.pass(nil)
		await(t, r)
		_, err = r.PlaceAndWait(b, 3)
		require.NoError(t, err)
		_, err = r.Place(a, 4)
		require.ErrorIs(t, err, broken)
		require.ErrorContains(t, err, `lora: upload adapter "made"`)
		require.NoError(t, r.Check())
		r.Drop(b.ID)
		require.Zero(t, r.Pages())
		require.Equal(t, len(m.used), m.free())
	}
	_, err := r.Place(a, 5)
	require.ErrorIs(t, err, ErrArriving)
	g.pass(broken)
	await(t, r)
	used, idle := r.Idle()
	require.True(t, idle, "what failed and is not asked for again is evicted like any other")
	require.EqualValues(t, 5, used)
	r.EvictIdle()
	require.Zero(t, r.Pages())

	_, err = r.Place(a, 6)
	require.ErrorIs(t, err, ErrArriving)
	g.pass(compute.ErrDeviceLost)
	_, err = r.AwaitUpload()
	require.ErrorIs(t, err, compute.ErrDeviceLost)
	_, err = r.Place(a, 7)
	require.ErrorIs(t, err, compute.ErrDeviceLost)

	_, err = r.Place(a, 8)
	require.ErrorIs(t, err, ErrArriving)
	g.pass(nil)
	n, err := r.PlaceAndWait(a, 9)
	require.NoError(t, err)
	requireResident(t, d, r, n, a)
}

// TestDropWhileArriving drops adapters before and during their upload: pages
// stay taken until nothing writes to them any more.
func TestDropWhileArriving(t *testing.T) {
	rnd := random(t)
	base := testBase(shaders.F32)
	d, r, m := newResidency(t, base, 3, 2000)
	g := gateUploads(t, r)
	a, b := made(rnd, 1, base), made(rnd, 2, base)
	for _, x := range []*Adapter{a, b} {
		_, err := r.Place(x, 1)
		require.ErrorIs(t, err, ErrArriving)
	}
	held := r.Pages()
	<-g.begun // the upload of a
	for _, x := range []*Adapter{a, b, b} {
		r.Drop(x.ID)
	}
	require.Equal(t, held, r.Pages())
	require.NoError(t, r.Check())
	_, err := r.Place(a, 2)
	require.ErrorIs(t, err, ErrArriving, "again, in a slot of its own")
	_, err = r.Place(b, 2)
	require.ErrorIs(t, err, ErrNoSlot)
	require.Greater(t, r.Pages(), held)
	g.word <- nil
	g.pass(nil) // the second upload of a; that of b does not begin
	n, err := r.PlaceAndWait(a, 3)
	require.NoError(t, err)
	requireResident(t, d, r, n, a)
	place := r.slots[n].place
	require.Equal(t, place.pages(), r.Pages())
	require.Equal(t, len(m.used), m.free()+r.Pages())
	require.NoError(t, r.Check())
}

// TestCloseWhileArriving: Close waits for the upload that has begun, and the
// others do not begin.
func TestCloseWhileArriving(t *testing.T) {
	rnd := random(t)
	base := testBase(shaders.F32)
	d := computetest.Device(t)
	r, err := NewResidency(d, base, 3)
	require.NoError(t, err)
	require.NoError(t, r.Attach(newTestMemory(t, d, 1, 2000), testLimits))
	g := gateUploads(t, r)
	var all []*upload
	for i := range 3 {
		_, err := r.Place(made(rnd, uint64(i+1), base), 1)
		require.ErrorIs(t, err, ErrArriving)
		all = append(all, r.slots[r.arriving[i]].upload)
	}
	<-g.begun
	closed := make(chan struct{})
	go func() {
		r.Close()
		close(closed)
	}()
	for !all[2].dropped.Load() {
		runtime.Gosched()
	}
	require.False(t, all[0].over())
	g.word <- nil
	<-closed
	require.NoError(t, all[0].err)
	require.ErrorIs(t, all[1].err, errDropped)
	require.ErrorIs(t, all[2].err, errDropped)
}
