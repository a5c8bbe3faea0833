package lora

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/x448/float16"

	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

// packBlock is how many columns are transposed at a time: their values in
// float32 stay in the nearest cache.
const packBlock = 64

// pack writes a matrix [rows][columns] in another type, with padded rows.
// Rounding is to nearest, ties to even. It fails on a value that is, or in the
// new type becomes, infinite or no number.
func pack(to []byte, t shaders.Type, from checkpoint.Tensor) error {
	rows, columns := from.Shape[0], from.Shape[1]
	if movable(from, t) {
		move(to, from)
		return nil
	}
	values := make([]float32, columns)
	for r := range rows {
		if err := widen(values, from, r*columns); err != nil {
			return err
		}
		if err := narrow(to[r*stride(columns)*t.Size():], t, values); err != nil {
			return fmt.Errorf("row %d: %w", r, err)
		}
	}
	return nil
}

// packTransposed is pack of the transpose.
func packTransposed(to []byte, t shaders.Type, from checkpoint.Tensor) error {
	rows, columns := from.Shape[0], from.Shape[1]
	if t.Size() == 2 && rows%4 == 0 && columns%4 == 0 && movable(from, t) {
		moveTransposed(to, from)
		return nil
	}
	values := make([]float32, packBlock*columns)
	turned := make([]float32, packBlock)
	for first := 0; first < rows; first += packBlock {
		n := min(packBlock, rows-first)
		if err := widen(values[:n*columns], from, first*columns); err != nil {
			return err
		}
		for c := range columns {
			for r := range n {
				turned[r] = values[r*columns+c]
			}
			if err := narrow(to[(c*stride(rows)+first)*t.Size():], t, turned[:n]); err != nil {
				return fmt.Errorf("column %d: %w", c, err)
			}
		}
	}
	return nil
}

// widen reads values of a tensor from its first-th on; all types it takes fit
// into float32 exactly.
func widen(values []float32, from checkpoint.Tensor, first int) error {
	data := from.Data[first*from.Type.Size():]
	switch from.Type {
	case checkpoint.F32:
		for i := range values {
			values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
	case checkpoint.F16:
		for i := range values {
			values[i] = float16.Frombits(binary.LittleEndian.Uint16(data[2*i:])).Float32()
		}
	case checkpoint.BF16:
		for i := range values {
			values[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[2*i:])) << 16)
		}
	default:
		return fmt.Errorf("dtype %s, want F32, F16 or BF16", from.Type)
	}
	return nil
}

// exponent masks: all ones means infinite or no number.
const (
	exponent32   = 0x7f800000
	exponent16   = 0x7c00
	exponentBF16 = 0x7f80
)

// narrow writes values in a type and fails on one that is not finite there.
func narrow(to []byte, t shaders.Type, values []float32) error {
	switch t {
	case shaders.F32:
		for i, v := range values {
			bits := math.Float32bits(v)
			if bits&exponent32 == exponent32 {
				return notFinite(v, t)
			}
			binary.LittleEndian.PutUint32(to[4*i:], bits)
		}
	case shaders.F16:
		for i, v := range values {
			bits := float16.Fromfloat32(v).Bits()
			if bits&exponent16 == exponent16 {
				return notFinite(v, t)
			}
			binary.LittleEndian.PutUint16(to[2*i:], bits)
		}
	case shaders.BF16:
		for i, v := range values {
			bits := math.Float32bits(v)
			// Half of what is cut off, less one if the last bit kept is even.
			rounded := uint16((bits + 0x7fff + bits>>16&1) >> 16)
			if bits&exponent32 == exponent32 || rounded&exponentBF16 == exponentBF16 {
				return notFinite(v, t)
			}
			binary.LittleEndian.PutUint16(to[2*i:], rounded)
		}
	}
	return nil
}

func notFinite(v float32, t shaders.Type) error {
	if math.Abs(float64(v)) <= math.MaxFloat32 {
		return fmt.Errorf("value %v is too large for the model's type, %s", v, t)
	}
	return fmt.Errorf("value %v, want a finite one", v)
}
