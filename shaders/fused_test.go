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
	require.GreaterOrEqual(t, AheadRows, largeTile, "rows of a tile that ends its outputs")
}

// TestFuses has products by matrices end their own outputs, but for heads that do not fit and adapters of rows that are neither few nor many;
// the shrink has a stage of its own where theirs does not flow.
func TestFuses(t *testing.T) {
	k := withMatrices(t, 32)
	for _, c := range []struct {
		rows, head int
		kind       Type
		adapters   bool
		want       bool
	}{
		{1, 128, BF16, true, true},
		{mostDeltas, 32, BF16, true, true},
		{mostDeltas + 1, 128, BF16, true, false},
		{mostDeltas + 1, 128, BF16, false, true},
		{mostNarrow, 128, BF16, true, false},
		{mostNarrow + 1, 128, BF16, true, true},
		{1, 48, BF16, false, false}, // half a head is no whole panels' rows
		{mostFused, 128, F32, true, true},
		{mostFused + 1, 128, F32, false, false},
	} {
		require.Equal(t, c.want, k.Fuses(c.rows, c.head, c.kind, c.adapters), "%+v", c)
	}
	for _, order := range []bool{true, false} {
		k.info.InOrder = order
		require.Equal(t, order, k.Flows(mostFused, BF16))
		require.False(t, k.Flows(mostFused+1, BF16))
	}
	few := Fused{
		Project: Project{W: Matrix{Type: BF16, Panels: true}, In: 64, Out: 64, Half: Halves{Address: 1, Width: 64}, Tokens: mostDeltas + 1},
		Ending:  Residual{}, Shrink: &Shrink{},
	}
	require.PanicsWithValue(t, "shaders: a product of 33 rows by matrices leaves outputs with deltas to a stage behind; see Kernels.Fuses",
		func() { few.Dispatches(k) })
	few.Ending = Residual{Slices: 2}
	require.PanicsWithValue(t, "shaders: a residual sum in a Fused adds up no slices", func() { few.Dispatches(k) })
	require.True(t, k.ShrinksBefore(BF16, false))
	require.False(t, k.ShrinksBefore(BF16, true))
	require.False(t, k.ShrinksBefore(F32, false))
}

// TestFusedSquares has tiles of many rows sum the squares of their columns, and such of few those of a quad.
func TestFusedSquares(t *testing.T) {
	k := withMatrices(t, 32)
	require.Equal(t, SquaresQuad, k.FusedSquares(mostNarrow, 4096, BF16))
	require.Equal(t, largeTile, k.FusedSquares(mostNarrow+1, 4096, BF16))
	require.Equal(t, SquaresUnit, k.FusedSquares(mostFused, 4096, F32))
}
