package compute_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
)

// unmapped opens a device whose memory the host does not see, so that bytes go through staging buffers.
func unmapped(t *testing.T) *compute.Device {
	d, err := compute.OpenUnmapped(compute.Options{Validation: compute.ValidationInstalled()})
	require.NoError(t, err)
	computetest.Check(t, d)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func TestTransfer(t *testing.T) {
	t.Run("mapped", func(t *testing.T) { testTransfer(t, computetest.Device(t)) })
	t.Run("unmapped", func(t *testing.T) {
		d := unmapped(t)
		require.False(t, d.Info().MappedLocal)
		require.Nil(t, allocate(t, d, 4, compute.Local).Bytes())
		testTransfer(t, d)
	})
}

func testTransfer(t *testing.T, d *compute.Device) {
	const piece = 16 << 20 // what the staging buffers hold
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	block := make([]byte, 65521) // prime, so that no piece looks like another
	r := rand.New(rand.NewPCG(seed, 2))
	for i := range block {
		block[i] = byte(r.Uint32())
	}
	whole := allocate(t, d, 3*piece+64, compute.Local)
	for _, size := range []int64{4, 100, piece - 4, piece, piece + 4, 3*piece + 20} {
		require.NoError(t, d.Fill(whole, 0x7fc0dead))
		in := bytes.Repeat(block, int(size)/len(block)+1)[:size]
		require.NoError(t, d.Upload(whole.Slice(24, size), in))
		want := bytes.Clone(in)
		clear(in) // Upload must be done with it
		out := make([]byte, size)
		require.NoError(t, d.Download(out, whole.Slice(24, size)))
		require.True(t, bytes.Equal(want, out), "%d bytes", size)
		around := make([]byte, 4)
		for _, at := range []int64{20, 24 + size} {
			require.NoError(t, d.Download(around, whole.Slice(at, 4)))
			require.Equal(t, []byte{0xad, 0xde, 0xc0, 0x7f}, around, "beside %d bytes", size)
		}
	}
	require.NoError(t, d.Upload(whole.Slice(0, 0), nil))
	require.NoError(t, d.Fill(whole.Slice(8, 0), 1))
}

// Kernels see uploads, and downloads wait for what kernels write, however long the device takes.
func TestTransferAndKernels(t *testing.T) {
	t.Run("mapped", func(t *testing.T) { testTransferAndKernels(t, computetest.Device(t)) })
	t.Run("unmapped", func(t *testing.T) { testTransferAndKernels(t, unmapped(t)) })
}

func testTransferAndKernels(t *testing.T, d *compute.Device) {
	const n = 5000
	x, y := allocate(t, d, 4*n, compute.Local), allocate(t, d, 4*n, compute.Local)
	p := record(t, d, stages(affine(d.NewKernel("affine", affineModule, []uint32{9}), x, y, 1, n)), nil)
	busy := slow(t, d, allocate(t, d, 4, compute.HostRead))
	for range 2 {
		in := randomWords(t, n)
		upload(t, d, x, in)
		_, err := d.Submit(busy, p)
		require.NoError(t, err)
		for i, v := range download(t, d, y) {
			require.Equal(t, 9*in[i]+1, v)
		}
	}
}

// A staging buffer is not filled again before the device, busy with other work, has emptied it.
func TestUploadBehindWork(t *testing.T) {
	d := unmapped(t)
	const piece = 16 << 20
	whole := allocate(t, d, 5*piece, compute.Local)
	_, err := d.Submit(slow(t, d, allocate(t, d, 4, compute.HostRead)))
	require.NoError(t, err)
	in := make([]byte, 5*piece)
	for i := range 5 {
		copy(in[i*piece:], bytes.Repeat([]byte{byte(i + 1)}, piece))
	}
	require.NoError(t, d.Upload(whole, in))
	out := make([]byte, len(in))
	require.NoError(t, d.Download(out, whole))
	require.True(t, bytes.Equal(in, out))
}

func TestTransferRefuses(t *testing.T) {
	d := computetest.Device(t)
	b := allocate(t, d, 64, compute.Local)
	require.EqualError(t, d.Upload(b, make([]byte, 63)), "compute: upload 63 bytes to a span of 64")
	require.EqualError(t, d.Download(make([]byte, 65), b), "compute: download a span of 64 bytes into 65")
	require.EqualError(t, d.Fill(b.Slice(2, 4), 1), "compute: fill 4 bytes at 2: not in whole words")
	for _, c := range [][2]int64{{-1, 4}, {0, 65}, {64, 1}, {8, -1}, {1 << 62, 1 << 62}} {
		require.Panics(t, func() { b.Slice(c[0], c[1]) })
	}
}

func TestAllocateRefuses(t *testing.T) {
	d := computetest.Device(t)
	_, err := d.Allocate(0, compute.Local)
	require.EqualError(t, err, "compute: allocate 0 bytes: the size must be positive")
	_, err = d.Allocate(d.Info().MaxAllocation+1, compute.Local)
	require.ErrorContains(t, err, "the device allows at most")
}

func TestBuffer(t *testing.T) {
	d := computetest.Device(t)
	for _, u := range []compute.Usage{compute.HostWrite, compute.HostRead} {
		b := allocate(t, d, 1000, u)
		require.Len(t, b.Bytes(), 1000)
		require.NotZero(t, b.Address())
		s := b.Slice(100, 50)
		require.Equal(t, b.Address()+100, s.Address())
		require.Len(t, s.Bytes(), 50)
		require.Equal(t, 50, cap(s.Bytes()))
	}
}
