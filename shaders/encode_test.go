package shaders

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// patterns is every 16-bit pattern of the type that is a finite number.
func patterns(t Type) (bits []uint16, values []float32) {
	for p := range 1 << 16 {
		data := binary.LittleEndian.AppendUint16(nil, uint16(p))
		v := t.Decode(data)[0]
		if !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) {
			bits, values = append(bits, uint16(p)), append(values, v)
		}
	}
	return bits, values
}

func TestEncodeKeepsWhatTheTypeHolds(t *testing.T) {
	for _, kind := range []Type{F16, BF16} {
		bits, values := patterns(kind)
		require.Greater(t, len(bits), 60000)
		encoded := kind.Encode(values)
		for i, want := range bits {
			require.Equal(t, want, binary.LittleEndian.Uint16(encoded[2*i:]), "%v %g", kind, values[i])
			require.Equal(t, values[i], kind.Round(values[i]))
		}
	}
	odd := []float32{0, 1.5, -math.MaxFloat32, float32(math.Inf(1)), math.SmallestNonzeroFloat32}
	require.Equal(t, odd, F32.Decode(F32.Encode(odd)))
}

// Halfway between two neighbours the even one wins; a hair beside it, the nearer one.
func TestEncodeRoundsToNearestEven(t *testing.T) {
	for _, kind := range []Type{F16, BF16} {
		bits, values := patterns(kind)
		for i := range len(bits) - 1 {
			if bits[i+1] != bits[i]+1 {
				continue
			}
			low, high, even := values[i], values[i+1], values[i+int(bits[i]&1)]
			middle := float32((float64(low) + float64(high)) / 2)
			require.Equal(t, even, kind.Round(middle), "%v %g", kind, middle)
			require.Equal(t, low, kind.Round(math.Nextafter32(middle, low)), "%v %g", kind, middle)
			require.Equal(t, high, kind.Round(math.Nextafter32(middle, high)), "%v %g", kind, middle)
		}
	}
}

func TestEncodePastTheLargest(t *testing.T) {
	infinite := float32(math.Inf(1))
	require.Equal(t, float32(65504), F16.Round(65519.996))
	require.Equal(t, infinite, F16.Round(65520))
	require.Equal(t, -infinite, F16.Round(-1e9))
	require.Equal(t, infinite, BF16.Round(math.MaxFloat32))
	for _, kind := range []Type{F16, BF16} {
		// A NaN whose payload lies only in the bits that are cut off must not become an infinity.
		got := kind.Round(math.Float32frombits(0x7f800001))
		require.True(t, math.IsNaN(float64(got)), "%v", kind)
	}
}
