package compute_test

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
)

//go:embed testdata/affine.spv
var affineModule []byte

//go:embed testdata/count.spv
var countModule []byte

// affine is y[i] = scale·x[i] + offset over count uint32.
func affine(k *compute.Kernel, x, y compute.Span, offset uint32, count int) compute.Dispatch {
	push := binary.LittleEndian.AppendUint64(nil, x.Address())
	push = binary.LittleEndian.AppendUint64(push, y.Address())
	push = binary.LittleEndian.AppendUint32(push, offset)
	push = binary.LittleEndian.AppendUint32(push, uint32(count))
	return compute.Dispatch{Label: "affine", Kernel: k, Push: push, Groups: [3]uint32{uint32(count+63) / 64, 1, 1}, Bytes: int64(8 * count), Flops: int64(2 * count)}
}

// count adds the number of its workgroups to the uint32 at counter.
func count(k *compute.Kernel, counter compute.Span, groups uint32) compute.Dispatch {
	return compute.Dispatch{Label: "count", Kernel: k, Push: binary.LittleEndian.AppendUint64(nil, counter.Address()), Groups: [3]uint32{groups, 1, 1}}
}

func stages(dispatches ...compute.Dispatch) (s []compute.Stage) {
	for i, x := range dispatches {
		s = append(s, compute.Stage{Label: fmt.Sprintf("stage %d", i), Dispatches: []compute.Dispatch{x}})
	}
	return s
}

func allocate(t testing.TB, d *compute.Device, size int64, u compute.Usage) compute.Span {
	b, err := d.Allocate(size, u)
	require.NoError(t, err)
	t.Cleanup(b.Release)
	return b.All()
}

func record(t testing.TB, d *compute.Device, s []compute.Stage, p *compute.Profiler) *compute.Program {
	program, err := d.Record(t.Name(), s, p)
	require.NoError(t, err)
	t.Cleanup(program.Release)
	return program
}

func run(t testing.TB, d *compute.Device, programs ...*compute.Program) {
	ticket, err := d.Submit(programs...)
	require.NoError(t, err)
	require.NoError(t, d.Wait(ticket))
}

func randomWords(t testing.TB, n int) []uint32 {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	w := make([]uint32, n)
	for i := range w {
		w[i] = r.Uint32()
	}
	return w
}

func upload(t testing.TB, d *compute.Device, dst compute.Span, w []uint32) {
	b := bytesOf(w)
	require.NoError(t, d.Upload(dst.Slice(0, int64(len(b))), b))
}

func bytesOf(w []uint32) []byte {
	b := make([]byte, 0, 4*len(w))
	for _, v := range w {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func download(t testing.TB, d *compute.Device, src compute.Span) []uint32 {
	b := make([]byte, src.Size)
	require.NoError(t, d.Download(b, src))
	w := make([]uint32, len(b)/4)
	for i := range w {
		w[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return w
}

// A recorded program works on what the buffers hold when it runs, not on what they held when it was recorded.
func TestReplay(t *testing.T) {
	d := computetest.Device(t)
	const n = 1000 // not a multiple of the workgroup
	x, y := allocate(t, d, 4*n, compute.Local), allocate(t, d, 4*n, compute.Local)
	p := record(t, d, stages(affine(d.NewKernel("affine", affineModule, []uint32{3}), x, y, 7, n)), nil)
	for range 3 {
		in := randomWords(t, n)
		upload(t, d, x, in)
		require.NoError(t, d.Fill(y, 0x7fc0dead))
		run(t, d, p)
		for i, v := range download(t, d, y) {
			require.Equal(t, 3*in[i]+7, v, i)
		}
	}
}

// Each stage reads what the one before wrote.
func TestStagesAreOrdered(t *testing.T) {
	d := computetest.Device(t)
	const n, length = 4096, 40
	buffers := []compute.Span{allocate(t, d, 4*n, compute.Local), allocate(t, d, 4*n, compute.Local)}
	k := d.NewKernel("affine", affineModule, []uint32{5})
	in := randomWords(t, n)
	want := append([]uint32(nil), in...)
	var chain []compute.Dispatch
	for i := range length {
		chain = append(chain, affine(k, buffers[i%2], buffers[(i+1)%2], uint32(i), n))
		for j := range want {
			want[j] = 5*want[j] + uint32(i)
		}
	}
	upload(t, d, buffers[0], in)
	run(t, d, record(t, d, stages(chain...), nil))
	require.Equal(t, want, download(t, d, buffers[length%2]))
}

// Programs of one submission run in order, and so do submissions that nobody waits for.
func TestProgramsAreOrdered(t *testing.T) {
	d := computetest.Device(t)
	const n = 512
	a, b, c := allocate(t, d, 4*n, compute.Local), allocate(t, d, 4*n, compute.Local), allocate(t, d, 4*n, compute.Local)
	k := d.NewKernel("affine", affineModule, []uint32{2})
	first := record(t, d, stages(affine(k, a, b, 1, n)), nil)
	second := record(t, d, stages(affine(k, b, c, 10, n)), nil)
	third := record(t, d, stages(affine(k, c, a, 100, n)), nil)
	in := randomWords(t, n)
	upload(t, d, a, in)
	_, err := d.Submit(first, second)
	require.NoError(t, err)
	run(t, d, third)
	for i, v := range download(t, d, a) {
		require.Equal(t, 2*(2*(2*in[i]+1)+10)+100, v)
	}
}

// The dispatches of one stage all run, and one program may mix kernels.
func TestStageOfSeveral(t *testing.T) {
	d := computetest.Device(t)
	const n = 256
	x, y, z := allocate(t, d, 4*n, compute.Local), allocate(t, d, 8*n, compute.Local), allocate(t, d, 4, compute.HostRead)
	require.NoError(t, d.Fill(z, 0))
	in := randomWords(t, n)
	upload(t, d, x, in)
	run(t, d, record(t, d, []compute.Stage{{Label: "all", Dispatches: []compute.Dispatch{
		affine(d.NewKernel("affine", affineModule, nil), x, y.Slice(0, 4*n), 1, n), // without constants the module's default holds: 1
		count(d.NewKernel("count", countModule, nil), z, 37),
		affine(d.NewKernel("affine", affineModule, []uint32{4}), x, y.Slice(4*n, 4*n), 2, n),
	}}}, nil))
	out := download(t, d, y)
	for i, v := range in {
		require.Equal(t, v+1, out[i])
		require.Equal(t, 4*v+2, out[n+i])
	}
	require.EqualValues(t, 37, binary.LittleEndian.Uint32(z.Bytes()))
}

// Group counts are read when the program runs.
func TestIndirect(t *testing.T) {
	d := computetest.Device(t)
	counts, counter := allocate(t, d, 64, compute.HostWrite), allocate(t, d, 4, compute.HostRead)
	x := count(d.NewKernel("count", countModule, nil), counter, 1000)
	x.Indirect = &compute.Indirect{Buffer: counts.Buffer, Offset: 16}
	p := record(t, d, stages(x), nil)
	require.NoError(t, d.Fill(counter, 0))
	total := uint32(0)
	for _, groups := range [][3]uint32{{5, 1, 1}, {0, 1, 1}, {3, 4, 2}, {1, 1, 1}} {
		for i, n := range groups {
			binary.LittleEndian.PutUint32(counts.Bytes()[16+4*i:], n)
		}
		total += groups[0] * groups[1] * groups[2]
		run(t, d, p)
		require.Equal(t, total, binary.LittleEndian.Uint32(counter.Bytes()), "groups %v", groups)
	}
}

func TestRecordRefuses(t *testing.T) {
	d := computetest.Device(t)
	k := d.NewKernel("count", countModule, nil)
	b := allocate(t, d, 24, compute.HostWrite).Buffer
	for _, c := range []struct {
		name     string
		dispatch compute.Dispatch
		err      string
	}{
		{"no kernel", compute.Dispatch{}, "no kernel"},
		{"a kernel that is no module", compute.Dispatch{Kernel: d.NewKernel("broken", []byte("GLSL"), nil)}, `compute: compile "broken": not a SPIR-V module`},
		{"too many push constants", compute.Dispatch{Kernel: k, Push: make([]byte, 132)}, "132 bytes of push constants: at most 128, in whole words"},
		{"part of a word", compute.Dispatch{Kernel: k, Push: make([]byte, 6)}, "6 bytes of push constants: at most 128, in whole words"},
		{"counts past the end", compute.Dispatch{Kernel: k, Indirect: &compute.Indirect{Buffer: b, Offset: 16}}, "group counts at 16 of a buffer of 24 bytes"},
		{"counts between words", compute.Dispatch{Kernel: k, Indirect: &compute.Indirect{Buffer: b, Offset: 2}}, "group counts at 2 of a buffer of 24 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.dispatch.Label = "one"
			_, err := d.Record("decode", stages(c.dispatch), nil)
			require.EqualError(t, err, `compute: record "decode", stage "stage 0", dispatch "one": `+c.err)
		})
	}
	_, err := d.Record("decode", stages(compute.Dispatch{Kernel: k, Groups: [3]uint32{1, 1 << 31, 1}}), nil)
	require.ErrorContains(t, err, "the device allows at most")
}

// A stage that flows has no barrier before it, unless a profiler needs the time between.
func TestFlowingStages(t *testing.T) {
	list := stages(compute.Dispatch{Kernel: &compute.Kernel{}}, compute.Dispatch{Kernel: &compute.Kernel{}}, compute.Dispatch{Kernel: &compute.Kernel{}})
	require.Equal(t, 2, compute.StageBarriers(list, nil))
	list[2].Flows = true
	require.Equal(t, 1, compute.StageBarriers(list, nil))

	d, err := compute.Open(compute.Options{})
	require.NoError(t, err)
	require.Equal(t, 2, compute.StageBarriers(list, compute.NewProfiler(d)))
	require.Equal(t, 1, compute.StageBarriers(list, compute.NewProgramProfiler(d)))
	defer func() { require.NoError(t, d.Close()) }()
	d.DenyOrder()
	_, err = d.Record("flow", list[2:], nil)
	require.ErrorContains(t, err, "flows, on a device that starts workgroups in any order")
}
