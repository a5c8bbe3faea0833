package reference

// RandomFill returns the value of element index: uniform over an interval of the width centred at zero, from 23 bits of
// a hash of (seed, index).
func RandomFill(seed uint32, index uint64, width float32) float64 {
	key := scramble(uint32(index/8) ^ scramble(seed))
	bits := scramble(key + uint32(index%8)*0x9e3779b9)
	return ((float64(bits>>9)+0.5)/(1<<23) - 0.5) * float64(width)
}

func scramble(v uint32) uint32 {
	v ^= v >> 16
	v *= 0x7feb352d
	v ^= v >> 15
	v *= 0x846ca68b
	return v ^ v>>16
}
