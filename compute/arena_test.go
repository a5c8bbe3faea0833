package compute_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
)

// Random allocations and frees never overlap, and when all is freed a chunk is one hole again.
func TestArenaProperties(t *testing.T) {
	d := computetest.Device(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	const chunk = 64 << 10
	a := d.NewArena("test", compute.Local, chunk)
	t.Cleanup(a.Close)
	var live []compute.Span
	used := int64(0)
	rounded := func(s compute.Span) int64 { return (s.Size + 255) / 256 * 256 }
	for range 3000 {
		if len(live) > 0 && r.IntN(100) < 48 {
			i := r.IntN(len(live))
			a.Free(live[i])
			used -= rounded(live[i])
			live[i] = live[len(live)-1]
			live = live[:len(live)-1]
		} else {
			size := 1 + r.Int64N(6000)
			if r.IntN(50) == 0 {
				size = chunk + 1 + r.Int64N(chunk) // gets a buffer of its own
			}
			s, err := a.Alloc(size)
			require.NoError(t, err)
			require.Equal(t, size, s.Size)
			require.Zero(t, s.Address()%256)
			require.LessOrEqual(t, s.Offset+s.Size, s.Buffer.Size())
			for _, o := range live {
				require.True(t, s.Buffer != o.Buffer || s.Offset >= o.Offset+rounded(o) || o.Offset >= s.Offset+rounded(s), "%v overlaps %v", s, o)
			}
			live = append(live, s)
			used += rounded(s)
		}
		require.Equal(t, used, a.Used())
		require.GreaterOrEqual(t, a.Reserved(), used)
	}
	for _, s := range live {
		a.Free(s)
	}
	require.Zero(t, a.Used())
	reserved := a.Reserved()
	require.Zero(t, reserved%chunk, "large buffers are gone")
	for range reserved / chunk {
		_, err := a.Alloc(chunk)
		require.NoError(t, err)
	}
	require.Equal(t, reserved, a.Reserved(), "each chunk was one hole")
}

// A freed span is not handed out again while the device may be using it.
func TestArenaWaitsForTheDevice(t *testing.T) {
	d := computetest.Device(t)
	a := d.NewArena("test", compute.Local, 1<<10)
	t.Cleanup(a.Close)
	first, err := a.Alloc(1 << 10)
	require.NoError(t, err)
	ticket, err := d.Submit(slow(t, d, allocate(t, d, 4, compute.HostRead)))
	require.NoError(t, err)
	a.Free(first)
	second, err := a.Alloc(1 << 10)
	require.NoError(t, err)
	done, err := d.Done(ticket)
	require.NoError(t, err)
	require.False(t, done, "the work ended before the test could see anything")
	require.NotEqual(t, first, second)
	require.NoError(t, d.Wait(ticket))
	third, err := a.Alloc(1 << 10)
	require.NoError(t, err)
	require.Equal(t, first, third)
}

func TestArenaRefuses(t *testing.T) {
	d := computetest.Device(t)
	a := d.NewArena("weights", compute.Local, 1<<12)
	t.Cleanup(a.Close)
	_, err := a.Alloc(0)
	require.EqualError(t, err, `compute: arena "weights": 0 bytes: the size must be positive`)
	_, err = a.Alloc(d.Info().MaxAllocation + 1)
	require.ErrorContains(t, err, `compute: arena "weights": compute: allocate`)
	s, err := a.Alloc(600)
	require.NoError(t, err)
	require.Panics(t, func() { a.Free(s.Slice(256, 300)) }, "a part")
	require.Panics(t, func() { a.Free(allocate(t, d, 600, compute.Local)) }, "another's")
	a.Free(s)
	require.Panics(t, func() { a.Free(s) }, "twice")
}
