package lora

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

// TestFiniteFindsEveryPlace puts every 16-bit pattern, and float32's edges, at every place of a run whose length is odd.
func TestFiniteFindsEveryPlace(t *testing.T) {
	for _, of := range []shaders.Type{shaders.F16, shaders.BF16} {
		mask := uint16(exponentBF16)
		if of == shaders.F16 {
			mask = exponent16
		}
		for place := range 7 {
			data := make([]byte, 14)
			for i := range 7 { // neighbours just below infinity must not tip it
				binary.LittleEndian.PutUint16(data[2*i:], largestOf(of).bits)
			}
			for bits := range 1 << 16 {
				binary.LittleEndian.PutUint16(data[2*place:], uint16(bits))
				if want := uint16(bits)&mask != mask; finite(data, of) != want {
					require.Failf(t, "finite", "%s %#x at %d: want %v", of, bits, place, want)
				}
			}
		}
	}
	for place := range 5 {
		for _, v := range []float32{0, 1, -1, math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())} {
			data := make([]byte, 20)
			binary.LittleEndian.PutUint32(data[4*place:], math.Float32bits(v))
			want := v-v == 0
			require.Equal(t, want, finite(data, shaders.F32), "%v at %d", v, place)
		}
	}
}

// TestMovedLikeConverted holds moving against arithmetic: the same values in the model's type and in another give the same bytes.
func TestMovedLikeConverted(t *testing.T) {
	r := random(t)
	for _, pair := range [][2]checkpoint.DType{{checkpoint.F32, checkpoint.F16}, {checkpoint.F16, checkpoint.F32}, {checkpoint.BF16, checkpoint.F32}} {
		of := kernelTypes[pair[0]]
		for _, shape := range [][]int{{4, 4}, {64, 8}, {68, 16}, {132, 4}, {1, 5}, {6, 4}, {4, 6}, {100, 12}} {
			values := make([]float32, shape[0]*shape[1])
			for i := range values {
				values[i] = float32(r.IntN(255)-127) / 16 // exact in every type
			}
			var tensors [2]checkpoint.Tensor
			for i, dtype := range pair {
				tensors[i] = checkpoint.Tensor{Type: dtype, Shape: shape, Data: kernelTypes[dtype].Encode(values)}
			}
			require.True(t, movable(tensors[0], of))
			require.False(t, movable(tensors[1], of))
			for name, f := range map[string]func([]byte, shaders.Type, checkpoint.Tensor) error{"pack": pack, "packTransposed": packTransposed} {
				size := max(shape[0]*stride(shape[1]), shape[1]*stride(shape[0])) * of.Size()
				moved, converted := make([]byte, size), make([]byte, size)
				require.NoError(t, f(moved, of, tensors[0]))
				require.NoError(t, f(converted, of, tensors[1]))
				require.Equal(t, converted, moved, "%s %s %v", name, of, shape)
			}
		}
	}
}

// TestMovedNamesWhatIsNotFinite sees that a bad value is still refused by its row.
func TestMovedNamesWhatIsNotFinite(t *testing.T) {
	data := make([]byte, 2*8*4)
	binary.LittleEndian.PutUint16(data[2*13:], 0x7f80)
	from := checkpoint.Tensor{Type: checkpoint.BF16, Shape: []int{8, 4}, Data: data}
	to := make([]byte, 2*8*8)
	require.EqualError(t, pack(to, shaders.BF16, from), "row 3: value +Inf, want a finite one")
	require.EqualError(t, packTransposed(to, shaders.BF16, from), "column 1: value +Inf, want a finite one")
}
