package compute

import (
	"errors"
	"testing"

	vk "github.com/vulkan-go/vulkan"

	"github.com/stretchr/testify/require"

	"lorikeet/compute/internal/native"
)

func TestChoose(t *testing.T) {
	infos := []Info{
		{Index: 0, Name: "llvmpipe", Type: CPU},
		{Index: 1, Name: "Intel Iris", Type: Integrated},
		{Index: 2, Name: "GeForce 8800", Type: Discrete, Missing: []string{"timelineSemaphore"}},
		{Index: 3, Name: "NVIDIA H200", Type: Discrete},
		{Index: 4, Name: "NVIDIA H200", Type: Discrete},
	}
	for _, c := range []struct {
		name, want string
		infos      []Info
		index      int
		err        string
	}{
		{"the best usable one", "", infos, 3, ""},
		{"by index", "4", infos, 4, ""},
		{"by part of the name", "iris", infos, 1, ""},
		{"the best of several matches", "e", infos, 1, ""},
		{"only a CPU", "", infos[:1], 0, ""},
		{"no match names what there is", "radeon", infos[:2], 0, `compute: no device matches "radeon"; there are 0: llvmpipe, 1: Intel Iris`},
		{"an unusable one says why", "8800", infos, 0, `compute: device "GeForce 8800" lacks timelineSemaphore`},
		{"none says what to install", "", nil, 0, "compute: no Vulkan device found: " + installLoader},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, err := choose(c.infos, c.want)
			if c.err != "" {
				require.EqualError(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.index, i)
		})
	}
}

func TestVariants(t *testing.T) {
	names := []string{"VK_KHR_cooperative_matrix", "vulkanMemoryModel"}
	features := func(n int) (fs []Feature) {
		for i, name := range names {
			fs = append(fs, Feature{Name: name, OK: i < n})
		}
		return fs
	}
	small := CoopShape{M: 16, N: 16, K: 16, A: "bf16", B: "bf16", C: "f32", Out: "f32", Scope: "subgroup"}
	large := CoopShape{M: 32, N: 16, K: 16, A: "f16", B: "f16", C: "f32", Out: "f32", Scope: "workgroup", Invocations: 128}
	integer := CoopShape{M: 16, N: 16, K: 32, A: "s8", B: "s8", C: "s32", Out: "s32", Scope: "subgroup"}
	ok := func(name string) Variant { return Variant{Name: name, OK: true} }
	for _, c := range []struct {
		name string
		info Info
		want []Variant
	}{
		{"everything", Info{Features: features(2), CooperativeMatrix: []CoopShape{large, small}}, []Variant{ok("fma"), ok("coop")}},
		{"no memory model", Info{Features: features(1), CooperativeMatrix: []CoopShape{small}},
			[]Variant{ok("fma"), {"coop", false, "the driver has no " + names[1]}}},
		{"no shape that fits", Info{Features: features(2), CooperativeMatrix: []CoopShape{integer, large}},
			[]Variant{ok("fma"), {"coop", false, "no 16-bit product with fp32 result at subgroup scope"}}},
		{"wide subgroups", Info{Features: features(2), CooperativeMatrix: []CoopShape{small}, SubgroupSize: 64},
			[]Variant{ok("fma"), {"coop", false, "its subgroups have 64 invocations, more than 32"}}},
		{"nothing", Info{Features: features(0), Missing: []string{"Vulkan 1.2", "shaderInt64"}},
			[]Variant{{"fma", false, "the device lacks Vulkan 1.2, shaderInt64"}, {"coop", false, "the device lacks Vulkan 1.2, shaderInt64"}}},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, c.info.Variants()) })
	}
}

func TestResultErrors(t *testing.T) {
	require.NoError(t, check(0, "nothing"))
	require.ErrorIs(t, check(native.Result(vk.ErrorDeviceLost), "wait"), ErrDeviceLost)
	require.EqualError(t, check(native.Result(vk.ErrorDeviceLost), "wait"), "compute: wait: device lost")
	require.ErrorIs(t, check(native.Result(vk.ErrorOutOfDeviceMemory), "allocate %d bytes", 5), ErrOutOfMemory)
	require.ErrorIs(t, check(native.Result(vk.ErrorOutOfHostMemory), "record"), ErrOutOfMemory)
	err := check(native.Result(vk.ErrorFragmentedPool), "record %q", "decode")
	require.EqualError(t, err, `compute: record "decode": vulkan result -12`)
	require.False(t, errors.Is(err, ErrOutOfMemory))
}
