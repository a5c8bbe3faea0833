package cases

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute/computetest"
	"lorikeet/shaders"
)

// TestRangesOfAWorkgroupDoNotMatter gives a workgroup of decode attention one or several ranges of the same keys. The bits must be
// the same.
func TestRangesOfAWorkgroupDoNotMatter(t *testing.T) {
	device := computetest.Device(t)
	kernels := shaders.NewStyle(device, shaders.Groups)
	a := attendShape{kind: shaders.BF16, heads: 8, kvHeads: 2, headDim: 128}
	for _, length := range []int{128, 50} {
		seed := rand.Uint64()
		row := func(each int) Case {
			return Case{Name: "ranges", Limit: 2e-6, Build: func(s *Setup) Run { return a.buildDecode(s, []int{300, 7, 128, 700}, length, each, nil) }}
		}
		// The error is a sum over every bit of the output, so an equal one means equal bits.
		want, limit := measure(t, device, kernels, row(1), seed)
		require.LessOrEqual(t, want, limit)
		for _, each := range []int{2, 3, 100} {
			got, _ := measure(t, device, kernels, row(each), seed)
			require.Equal(t, want, got, "seed %d: ranges of %d keys, %d a workgroup", seed, length, each)
		}
	}
}
