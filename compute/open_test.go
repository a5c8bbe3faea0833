package compute_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/compute/computetest"
)

func TestDevices(t *testing.T) {
	infos, err := compute.Devices()
	require.NoError(t, err)
	require.NotEmpty(t, infos)
	for i, info := range infos {
		require.Equal(t, i, info.Index)
		require.NotEmpty(t, info.Name)
		require.NotEmpty(t, info.Driver)
		require.Len(t, info.Variants(), 2)
		if len(info.Missing) > 0 {
			continue
		}
		require.GreaterOrEqual(t, info.SubgroupSize, 4)
		require.GreaterOrEqual(t, info.MaxPushConstants, compute.MaxPush)
		require.Positive(t, info.MaxAllocation)
		require.Positive(t, info.LocalHeap)
		require.Positive(t, info.LocalFree)
		require.True(t, info.Has("bufferDeviceAddress"))
		require.False(t, info.Has("no such feature"))
	}
	d := computetest.Device(t)
	require.Contains(t, names(infos), d.Info().Name)
	_, err = compute.Open(compute.Options{Device: "no such device"})
	require.ErrorContains(t, err, `no device matches "no such device"; there are 0: `+infos[0].Name)
}

// A loader that is there but cannot be opened is not said to be missing alone. The limit is for a process of its own.
func TestNoFileIsLeftForTheLoader(t *testing.T) {
	const inside = "LORIKEET_TEST_NO_FILES"
	if os.Getenv(inside) != "" {
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{}))
		_, err := compute.Devices()
		require.ErrorContains(t, err, "compute: open the Vulkan loader: ")
		require.ErrorContains(t, err, "Too many open files")
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), inside+"=1")
	out, err := child.CombinedOutput()
	require.NoError(t, err, string(out))
}

func names(infos []compute.Info) (names []string) {
	for _, i := range infos {
		names = append(names, i.Name)
	}
	return names
}

// The validation layer is on, with both of its checks, and what it says arrives, also of the time of closing.
func TestValidationMessages(t *testing.T) {
	if os.Getenv("LORIKEET_VALIDATION") == "off" || !compute.ValidationInstalled() {
		_, err := compute.Open(compute.Options{Validation: !compute.ValidationInstalled()})
		require.Equal(t, !compute.ValidationInstalled(), err != nil)
		return
	}
	d, err := compute.Open(compute.Options{Validation: true})
	require.NoError(t, err)
	x, err := d.Allocate(64, compute.Local)
	require.NoError(t, err)
	y, err := d.Allocate(64, compute.Local)
	require.NoError(t, err)
	require.Empty(t, d.ValidationMessages())

	require.NoError(t, d.CopyTwice(x, y))
	require.Contains(t, strings.Join(d.ValidationMessages(), "\n"), "SYNC-HAZARD-WRITE-AFTER-WRITE")
	require.Empty(t, d.ValidationMessages(), "each message is given once")

	require.NoError(t, d.FillPastEnd(y))
	require.NoError(t, d.Close())
	require.Contains(t, strings.Join(d.ValidationMessages(), "\n"), "vkCmdFillBuffer")
	require.Empty(t, d.ValidationMessages())
}

// Close frees what was not released: the layer would name what is left.
func TestClose(t *testing.T) {
	d, err := compute.Open(compute.Options{Validation: compute.ValidationInstalled()})
	require.NoError(t, err)
	computetest.Check(t, d)
	b, err := d.Allocate(4, compute.HostRead)
	require.NoError(t, err)
	a := d.NewArena("kept", compute.Local, 1<<16)
	_, err = a.Alloc(100)
	require.NoError(t, err)
	p, err := d.Record("kept", stages(count(d.NewKernel("count", countModule, nil), b.All(), 1000)), compute.NewProfiler(d))
	require.NoError(t, err)
	d.NewKernel("unused", affineModule, nil)
	_, err = d.Submit(p)
	require.NoError(t, err)
	p.Release()
	require.NoError(t, d.Close())
	require.Empty(t, d.ValidationMessages())
}

func TestPipelineCache(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "pipelines")
	use := func() *compute.Device {
		d, err := compute.Open(compute.Options{CachePath: path, Validation: compute.ValidationInstalled()})
		require.NoError(t, err)
		require.NoError(t, d.NewKernel("affine", affineModule, nil).Ready())
		return d
	}
	require.NoError(t, use().Close())
	saved, err := os.ReadFile(path)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(saved), 32, "the header alone has 32 bytes")

	for _, content := range [][]byte{saved, nil, []byte("not a cache"), saved[:16], append([]byte{1, 2, 3, 4}, saved...)} {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		d := use()
		require.NoError(t, d.Close())
		again, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, saved[:32], again[:32])
	}
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file stays")

	require.NoError(t, os.RemoveAll(filepath.Dir(path)))
	require.NoError(t, os.WriteFile(filepath.Dir(path), nil, 0o600))
	require.ErrorContains(t, use().Close(), "compute: save the pipeline cache: ")
}
