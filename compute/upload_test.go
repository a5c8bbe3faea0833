package compute_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
)

func uploader(t testing.TB, d *compute.Device) *compute.Uploader {
	u, err := d.NewUploader()
	require.NoError(t, err)
	t.Cleanup(u.Close)
	return u
}

// cut divides a span and bytes for it into pieces of random sizes, in random order.
func cut(r *rand.Rand, to compute.Span, from []byte) (pieces []compute.Piece) {
	for at := 0; at < len(from); {
		n := min(len(from)-at, 1+r.IntN(1<<(1+r.IntN(24))))
		pieces = append(pieces, compute.Piece{To: to.Slice(int64(at), int64(n)), From: from[at : at+n]})
		at += n
	}
	r.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
	return pieces
}

func randomBytes(r *rand.Rand, n int) []byte {
	data := make([]byte, 0, n+8)
	for len(data) < n {
		data = binary.LittleEndian.AppendUint64(data, r.Uint64())
	}
	return data[:n]
}

// Pieces of all sizes, more than the staging buffers hold, arrive beside programs that another goroutine submits, and
// leave what is around them alone.
func TestUploadBesidePrograms(t *testing.T) {
	t.Run("mapped", func(t *testing.T) { testUploadBesidePrograms(t, computetest.Device(t)) })
	t.Run("unmapped", func(t *testing.T) { testUploadBesidePrograms(t, unmapped(t)) })
}

func testUploadBesidePrograms(t *testing.T, d *compute.Device) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const all, edge, size = 40 << 20, 64, 40<<20 - 131
	whole := allocate(t, d, all, compute.Private)
	require.NoError(t, d.Fill(whole, 0))
	in := randomBytes(r, size)
	u := uploader(t, d)
	counter := allocate(t, d, 4, compute.HostRead)
	p := record(t, d, stages(count(d.NewKernel("count", countModule, nil), counter, 100)), nil)
	done := make(chan error)
	go func() {
		ticket, err := u.Upload(cut(r, whole.Slice(edge, size), in)...)
		if err == nil {
			err = u.Wait(ticket)
		}
		done <- err
	}()
	for arrived := false; !arrived; {
		run(t, d, p)
		select {
		case err := <-done:
			require.NoError(t, err)
			arrived = true
		default:
		}
	}
	want, got := make([]byte, all), make([]byte, all)
	copy(want[edge:], in)
	require.NoError(t, d.Download(got, whole))
	require.True(t, bytes.Equal(want, got))
}

// An upload is polled, and a program submitted after it arrived sees it; its places are then free for the next one.
func TestUploadThenProgram(t *testing.T) {
	d := computetest.Device(t)
	const n = 5000
	x, y := allocate(t, d, 4*n, compute.Private), allocate(t, d, 4*n, compute.Local)
	p := record(t, d, stages(affine(d.NewKernel("affine", affineModule, []uint32{5}), x, y, 2, n)), nil)
	u := uploader(t, d)
	done, err := u.Done(0)
	require.NoError(t, err)
	require.True(t, done, "the zero ticket")
	for range 20 {
		in := randomWords(t, n)
		ticket, err := u.Upload(compute.Piece{To: x, From: bytesOf(in)})
		require.NoError(t, err)
		for arrived := false; !arrived; {
			arrived, err = u.Done(ticket)
			require.NoError(t, err)
		}
		run(t, d, p)
		for i, v := range download(t, d, y) {
			require.Equal(t, 5*in[i]+2, v)
		}
	}
}

// A staging buffer is not filled again before it was emptied, by whatever uploader.
func TestUploadersSideBySide(t *testing.T) {
	d := unmapped(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	type upload struct {
		to   compute.Span
		in   []byte
		done chan error
	}
	var all []upload
	for i := range 3 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		x := upload{allocate(t, d, 40<<20, compute.Private), randomBytes(r, 40<<20), make(chan error, 1)}
		all = append(all, x)
		u := uploader(t, d)
		go func() {
			ticket, err := u.Upload(cut(r, x.to, x.in)...)
			if err == nil {
				err = u.Wait(ticket)
			}
			x.done <- err
		}()
	}
	for _, x := range all {
		require.NoError(t, <-x.done)
		got := make([]byte, len(x.in))
		require.NoError(t, d.Download(got, x.to))
		require.True(t, bytes.Equal(x.in, got))
	}
}

func TestUploadRefuses(t *testing.T) {
	d := computetest.Device(t)
	x := allocate(t, d, 64, compute.Private)
	u := uploader(t, d)
	_, err := u.Upload(compute.Piece{To: x.Slice(0, 4), From: make([]byte, 4)}, compute.Piece{To: x.Slice(4, 4), From: make([]byte, 5)})
	require.EqualError(t, err, "compute: upload 5 bytes to a span of 4")
	_, err = u.Write(allocate(t, d, compute.MostWritten+4, compute.Private), func([]byte) { t.Error("written") })
	require.EqualError(t, err, "compute: write 16777220 bytes at once: at most 16777216")
	ticket, err := u.Upload()
	require.NoError(t, err)
	done, err := u.Done(ticket)
	require.NoError(t, err)
	require.True(t, done, "of nothing")
}

// Write puts bytes in their place, directly or through the staging buffers, in turns with Upload.
func TestWrite(t *testing.T) {
	for _, c := range []struct {
		describe string
		d        *compute.Device
		usage    compute.Usage
	}{
		{"mapped", computetest.Device(t), compute.Local},
		{"private", computetest.Device(t), compute.Private},
		{"unmapped", unmapped(t), compute.Local},
	} {
		t.Run(c.describe, func(t *testing.T) {
			const size = 50 << 20
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			in, whole, u := randomBytes(r, size), allocate(t, c.d, size, c.usage), uploader(t, c.d)
			var last compute.UploadTicket
			for at, n := 0, 0; at < size; at += n {
				n = min(size-at, 1+r.IntN(compute.MostWritten))
				to, from := whole.Slice(int64(at), int64(n)), in[at:at+n]
				var err error
				if r.IntN(3) == 0 {
					last, err = u.Upload(compute.Piece{To: to, From: from})
				} else {
					last, err = u.Write(to, func(b []byte) { require.Equal(t, len(from), copy(b, from)) })
				}
				require.NoError(t, err)
			}
			require.NoError(t, u.Wait(last))
			got := make([]byte, size)
			require.NoError(t, c.d.Download(got, whole))
			require.True(t, bytes.Equal(in, got))
		})
	}
}
