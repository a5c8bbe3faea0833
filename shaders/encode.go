package shaders

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/x448/float16"
)

// Encode returns the values as little-endian elements of the type, rounded to nearest even.
func (t Type) Encode(values []float32) []byte {
	out := make([]byte, len(values)*t.Size())
	t.Put(out, values)
	return out
}

// Put writes the values as little-endian elements of the type, rounded to nearest even, to the front of dst.
func (t Type) Put(dst []byte, values []float32) {
	switch t {
	case F32:
		for i, v := range values {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case F16:
		for i, v := range values {
			binary.LittleEndian.PutUint16(dst[2*i:], float16.Fromfloat32(v).Bits())
		}
	case BF16:
		for i, v := range values {
			binary.LittleEndian.PutUint16(dst[2*i:], bfloatBits(v))
		}
	default:
		panic(fmt.Sprintf("shaders: encode %v", t))
	}
}

// Decode returns the float32 values of little-endian elements of the type; it is exact.
func (t Type) Decode(data []byte) []float32 {
	out := make([]float32, len(data)/t.Size())
	switch t {
	case F32:
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
	case F16:
		for i := range out {
			out[i] = float16.Frombits(binary.LittleEndian.Uint16(data[2*i:])).Float32()
		}
	case BF16:
		for i := range out {
			out[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[2*i:])) << 16)
		}
	default:
		panic(fmt.Sprintf("shaders: decode %v", t))
	}
	return out
}

// Round is the value the type holds for v.
func (t Type) Round(v float32) float32 {
	switch t {
	case F16:
		return float16.Fromfloat32(v).Float32()
	case BF16:
		return math.Float32frombits(uint32(bfloatBits(v)) << 16)
	}
	return v
}

// bfloatBits rounds to nearest even; a NaN stays one.
func bfloatBits(v float32) uint16 {
	bits := math.Float32bits(v)
	if bits&0x7fffffff > 0x7f800000 {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
