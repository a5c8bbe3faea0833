package compute_test

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
)

// Kernels compile in the background while the program allocates like a server; each keeps its own constants.
func TestCompileBesideGarbage(t *testing.T) {
	d := computetest.Device(t)
	var stop atomic.Bool
	garbage := make(chan int)
	go func() {
		sum := 0
		for !stop.Load() {
			sum += len(make([]byte, 1<<14))
			runtime.Gosched()
		}
		garbage <- sum
	}()
	const kernels, n = 150, 64
	x, y := allocate(t, d, 4*n, compute.Local), allocate(t, d, 4*n*kernels, compute.Local)
	in := randomWords(t, n)
	upload(t, d, x, in)
	var all []compute.Dispatch
	for i := range kernels {
		k := d.NewKernel("affine", affineModule, []uint32{uint32(i)})
		all = append(all, affine(k, x, y.Slice(int64(4*n*i), 4*n), 3, n))
	}
	run(t, d, record(t, d, []compute.Stage{{Label: "all", Dispatches: all}}, nil))
	stop.Store(true)
	<-garbage
	for i, v := range download(t, d, y) {
		require.Equal(t, uint32(i/n)*in[i%n]+3, v)
	}
}

func TestKernelErrors(t *testing.T) {
	d := computetest.Device(t)
	for _, module := range [][]byte{nil, []byte("#version 460 of a shader"), affineModule[:len(affineModule)-1], affineModule[:16]} {
		k := d.NewKernel("broken", module, nil)
		require.Equal(t, "broken", k.Name())
		require.EqualError(t, k.Ready(), `compute: compile "broken": not a SPIR-V module`)
	}
	require.NoError(t, d.NewKernel("affine", affineModule, nil).Ready())
}

// A device that is closed waits for the kernels that are being compiled, not for those that wait their turn.
func TestCloseWhileCompiling(t *testing.T) {
	d, err := compute.Open(compute.Options{})
	require.NoError(t, err)
	var all []*compute.Kernel
	for i := range 200 {
		all = append(all, d.NewKernel("affine", affineModule, []uint32{uint32(i)}))
	}
	done, asked := d.Compiled()
	require.Equal(t, 200, asked)
	require.LessOrEqual(t, done, asked)
	require.NoError(t, d.Close())
	const closed = `compute: compile "affine": the device is closed`
	for _, k := range all {
		if err := k.Ready(); err != nil {
			require.EqualError(t, err, closed)
		}
	}
	require.EqualError(t, d.NewKernel("affine", affineModule, nil).Ready(), closed)
}

func TestKernelStatistics(t *testing.T) {
	d, err := compute.Open(compute.Options{Statistics: true})
	require.NoError(t, err)
	defer d.Close()
	d.NewKernel("broken", nil, nil)
	d.NewKernel("affine", affineModule, nil)
	list := d.KernelStatistics()
	if !d.Info().Has("VK_KHR_pipeline_executable_properties") {
		require.Empty(t, list)
		return
	}
	require.Len(t, list, 1)
	require.Equal(t, "affine", list[0].Kernel)
	require.NotEmpty(t, list[0].Statistics)
	require.NotEmpty(t, list[0].Statistics[0].Name)
}
