package shaders

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// shrink_lanes is told what shrink is, and reads all of it but the end.
func TestShrinkLanesReadsTheSamePush(t *testing.T) {
	require.Equal(t, unsafe.Sizeof(shrinkLanesPush{}), unsafe.Offsetof(shrinkPush{}.Flow))
	require.Equal(t, unsafe.Offsetof(shrinkLanesPush{}.Eps), unsafe.Offsetof(shrinkPush{}.Eps))
}

// TestShrinkSlices has as many slices as a site leaves columns free, and none where the kernels know of none.
func TestShrinkSlices(t *testing.T) {
	k := withMatrices(t, 32)
	for sites, want := range map[int]int{1: 3, 2: 1, 3: 1} {
		require.Equal(t, want, k.ShrinkSlices(BF16, sites), "%d sites", sites)
		require.Equal(t, 1, k.ShrinkSlices(F32, sites))
	}
	require.PanicsWithValue(t, "shaders: a shrink of 3 slices takes halves (false), and is in no Fused", func() {
		Shrink{Slices: 3, Type: BF16}.Dispatch(k)
	})
}
