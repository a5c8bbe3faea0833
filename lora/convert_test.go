package lora

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/shaders"
)

// TestNarrowRounds compares each result with its two neighbours in the type: it
// must be the nearest, and the even one of two that are equally near.
func TestNarrowRounds(t *testing.T) {
	r := random(t)
	for _, to := range []shaders.Type{shaders.F16, shaders.BF16} {
		inputs := []float32{0, 1, -1, 0x1p-24, 0x1p-25, 0x1.8p-24, 1 + 0x1p-11, 1 + 0x3p-11, 1 + 0x1p-8, 1 + 0x3p-8, 65504, 65519, 0x1p-126, 0x1p-149}
		for range 20000 {
			inputs = append(inputs, math.Float32frombits(r.Uint32()))
			inputs = append(inputs, float32(r.NormFloat64()*math.Pow(2, float64(r.IntN(40)-30))))
		}
		for _, v := range inputs {
			data := make([]byte, 2)
			err := narrow(data, to, []float32{v})
			bits := uint16(data[0]) | uint16(data[1])<<8
			largest := largestOf(to)
			if math.IsNaN(float64(v)) || math.Abs(float64(v)) >= largest.tie {
				require.Error(t, err, "%v in %s", v, to)
				continue
			}
			require.NoError(t, err, "%v in %s", v, to)
			got := decoded(bits, to)
			near := math.Abs(got - float64(v))
			require.Equal(t, math.Signbit(float64(v)), math.Signbit(got))
			for _, other := range []uint16{bits - 1, bits + 1} {
				if bits&0x7fff == 0 && other == bits-1 || other&0x7fff == largest.bits+1 {
					continue // across zero, or infinite
				}
				far := math.Abs(decoded(other, to) - float64(v))
				require.LessOrEqual(t, near, far, "%v in %s", v, to)
				require.False(t, near == far && bits&1 == 1, "%v in %s went to the odd neighbour", v, to)
			}
		}
	}
}

type largest struct {
	bits uint16
	tie  float64 // from here on values round to infinity
}

func largestOf(t shaders.Type) largest {
	if t == shaders.F16 {
		return largest{0x7bff, 65520}
	}
	return largest{0x7f7f, (1 + 127.0/128 + 1.0/256) * 0x1p127}
}

func decoded(bits uint16, t shaders.Type) float64 {
	v, _ := values([]byte{byte(bits), byte(bits >> 8), 15: 0}, t, 1, 1)
	return float64(v[0][0])
}

func TestNarrowFloat32(t *testing.T) {
	data := make([]byte, 4)
	require.NoError(t, narrow(data, shaders.F32, []float32{-1.5}))
	require.Equal(t, []byte{0, 0, 0xc0, 0xbf}, data)
	require.ErrorContains(t, narrow(data, shaders.F32, []float32{float32(math.Inf(-1))}), "-Inf")
}
