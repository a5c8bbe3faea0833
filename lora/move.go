package lora

import (
	"encoding/binary"

	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

// kernelTypes are the types of tensors that adapters may have.
var kernelTypes = map[checkpoint.DType]shaders.Type{
	checkpoint.F32: shaders.F32, checkpoint.F16: shaders.F16, checkpoint.BF16: shaders.BF16,
}

// movable says whether a tensor's values can be taken as they are: they have the model's type already, and are finite.
func movable(from checkpoint.Tensor, t shaders.Type) bool {
	have, known := kernelTypes[from.Type]
	return known && have == t && finite(from.Data, t)
}

// finite says whether no value of a type has an exponent of all ones. It looks at eight bytes at a time: the lowest bit of an
// exponent, added to one of all ones, carries into the sign's place, which was cleared.
func finite(data []byte, t shaders.Type) bool {
	var exponents, lowest uint64
	switch t {
	case shaders.F32:
		exponents, lowest = exponent32<<32|exponent32, 1<<55|1<<23
	case shaders.F16:
		exponents, lowest = exponent16*0x0001_0001_0001_0001, 0x0400*0x0001_0001_0001_0001
	case shaders.BF16:
		exponents, lowest = exponentBF16*0x0001_0001_0001_0001, 0x0080*0x0001_0001_0001_0001
	}
	signs := exponents + lowest
	carried := uint64(0)
	for ; len(data) >= 8; data = data[8:] {
		carried |= binary.LittleEndian.Uint64(data)&exponents + lowest
	}
	var last [8]byte
	copy(last[:], data)
	carried |= binary.LittleEndian.Uint64(last[:])&exponents + lowest
	return carried&signs == 0
}

// move is pack of a movable tensor.
func move(to []byte, from checkpoint.Tensor) {
	size := from.Type.Size()
	row := from.Shape[1] * size
	for r := range from.Shape[0] {
		copy(to[r*stride(from.Shape[1])*size:], from.Data[r*row:(r+1)*row])
	}
}

// moveTransposed is packTransposed of a movable tensor of 16-bit values whose sides are multiples of four.
func moveTransposed(to []byte, from checkpoint.Tensor) {
	rows, columns := from.Shape[0], from.Shape[1]
	for first := 0; first < rows; first += packBlock {
		end := min(first+packBlock, rows)
		for c := 0; c < columns; c += 4 {
			for r := first; r < end; r += 4 {
				turn4(to[2*(c*stride(rows)+r):], 2*stride(rows), from.Data[2*(r*columns+c):], 2*columns)
			}
		}
	}
}

// turn4 transposes four rows of four 16-bit values, which lie so many bytes apart.
func turn4(to []byte, toStride int, from []byte, fromStride int) {
	const even, low = 0x0000_ffff_0000_ffff, 0xffff_ffff
	a := binary.LittleEndian.Uint64(from)
	b := binary.LittleEndian.Uint64(from[fromStride:])
	c := binary.LittleEndian.Uint64(from[2*fromStride:])
	d := binary.LittleEndian.Uint64(from[3*fromStride:])
	ab02, ab13 := a&even|b&even<<16, a>>16&even|b&^even
	cd02, cd13 := c&even|d&even<<16, c>>16&even|d&^even
	binary.LittleEndian.PutUint64(to, ab02&low|cd02<<32)
	binary.LittleEndian.PutUint64(to[toStride:], ab13&low|cd13<<32)
	binary.LittleEndian.PutUint64(to[2*toStride:], ab02>>32|cd02&^low)
	binary.LittleEndian.PutUint64(to[3*toStride:], ab13>>32|cd13&^low)
}
