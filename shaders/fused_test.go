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
