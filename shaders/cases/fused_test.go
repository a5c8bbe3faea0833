package cases

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute/computetest"
	"lorikeet/shaders"
)

// TestWhoEndsATileDoesNotMatter runs fused projections on the same inputs with the shrink beside the projection, before it,
// so that the projection ends every tile, and after it, so that the shrink does. The bits must be the same.
func TestWhoEndsATileDoesNotMatter(t *testing.T) {
	device := computetest.Device(t)
	for _, style := range []shaders.Style{shaders.Groups, shaders.Lanes, shaders.Matrices} {
		kernels := shaders.NewStyle(device, style)
		for _, f := range fusedShapes() {
			if !f.lora || f.many() || !slices.Contains(f.row(together).Styles(), style) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%v/%s/%v", f.ending, f.t, f.describe, style), func(t *testing.T) {
				seed := rand.Uint64()
				// The error is a sum over every bit of the output, so an equal one means equal bits.
				want, _ := measure(t, device, kernels, f.row(together), seed)
				for _, o := range []order{shrinkFirst, shrinkLast} {
					got, _ := measure(t, device, kernels, f.row(o), seed)
					require.Equal(t, want, got, "seed %d: %v", seed, o)
				}
			})
		}
	}
}
