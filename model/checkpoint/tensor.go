package checkpoint

import (
	"fmt"
	"math/bits"
)

// DType is an element type as safetensors files spell it.
type DType string

// The element types that the weights of a model can have.
const (
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
)

var dtypeSizes = map[DType]int{
	F32: 4, F16: 2, BF16: 2, "F64": 8, "C64": 8,
	"F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
	"I64": 8, "I32": 4, "I16": 2, "I8": 1,
	"U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}

// Size is the number of bytes of one element, 0 for an unknown type.
func (t DType) Size() int { return dtypeSizes[t] }

// Tensor is a named array, row-major and little-endian. Data of a [File] is a
// view: read only, valid until the file is closed, at any alignment.
type Tensor struct {
	Name  string
	Type  DType
	Shape []int // empty for a scalar
	Data  []byte
}

// byteSize is the number of bytes of an array, or an error where it has none.
func byteSize(t DType, shape []int) (int, error) {
	if t.Size() == 0 {
		return 0, fmt.Errorf("dtype %q is unknown", t)
	}
	n := uint64(t.Size())
	overflow := false
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		if dim == 0 {
			return 0, nil
		}
		hi, lo := bits.Mul64(n, uint64(dim))
		overflow = overflow || hi != 0 || lo > maxInt
		n = lo
	}
	if overflow {
		return 0, fmt.Errorf("shape %v of %s overflows", shape, t)
	}
	return int(n), nil
}

const maxInt = 1<<63 - 1
