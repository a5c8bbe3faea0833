package shaders

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestEpilogueAhead holds an Epilogue against the pairs of words in which include/ahead.glsl carries it.
func TestEpilogueAhead(t *testing.T) {
	require.EqualValues(t, 8*EpiloguePairs, unsafe.Sizeof(Epilogue{}))
	require.EqualValues(t, 8*EpilogueAddresses, unsafe.Offsetof(Epilogue{}.OutputStride), "addresses come first")
	require.GreaterOrEqual(t, AheadRows, mostFused, "rows of a tile that ends its outputs")
}

// TestFuses has products by matrices end their own outputs only where the device starts workgroups in order, and refuse adapters elsewhere.
func TestFuses(t *testing.T) {
	k := withMatrices(t, 32)
	for _, order := range []bool{true, false} {
		k.info.InOrder = order
		require.Equal(t, order, k.Fuses(1, 128, BF16))
		require.Equal(t, order, k.Fuses(mostFused, 128, BF16))
		require.True(t, k.Fuses(1, 128, F32), "which matrices do not multiply")
	}
	k.info.InOrder = true
	require.False(t, k.Fuses(mostFused+1, 128, BF16))
	require.False(t, k.Fuses(1, 48, BF16), "half a head is no whole panels' rows")
	require.PanicsWithValue(t, "shaders: products by matrices that have adapters flow", func() {
		Fused{Project: Project{W: Matrix{Type: BF16}}, Ending: Residual{}, Shrink: &Shrink{}}.Dispatches(k)
	})
}
