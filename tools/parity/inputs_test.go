package parity

import (
	"hash/fnv"
	"testing"

	"github.com/stretchr/testify/require"
)

// numbers are the 64-bit numbers of a name: see inputs.py.
func numbers(name string, n int) []uint64 {
	hash := fnv.New64a()
	hash.Write([]byte(name))
	seed := hash.Sum64()
	out := make([]uint64, n)
	for i := range out {
		z := seed + uint64(i+1)*0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		out[i] = z ^ z>>31
	}
	return out
}

// values are the nearly normal values of a name, before they are rounded to a type.
func values(name string, n int, spread, bias float64) []float32 {
	out := make([]float32, n)
	scale := float32(spread / 37837)
	for i, z := range numbers(name, n) {
		sum := int32(z&0xffff) + int32(z>>16&0xffff) + int32(z>>32&0xffff) + int32(z>>48) - 131070
		product := float32(sum) * scale
		out[i] = float32(product) + float32(bias)
	}
	return out
}

// TestInputs pins the generator down: the numbers are those of inputs.py.
func TestInputs(t *testing.T) {
	require.Equal(t, []uint64{0xd91a09777a8c539f, 0xee5dcf14eb50aec4, 0x808d9ea0635848ad}, numbers("20261123/pin", 3))
	require.Equal(t, []float32{0.7318761944770813, 2.1621296405792236, 0.821391761302948}, values("20261123/pin", 3, 0.5, 1))
	sum, squares := 0.0, 0.0
	const n = 1 << 16
	for _, v := range values("spread", n, 2, 0) {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	require.InDelta(t, 0, sum/n, 0.03)
	require.InDelta(t, 4, squares/n, 0.06)
}
