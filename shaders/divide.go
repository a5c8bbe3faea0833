package shaders

// Parts is where workgroups that have parts of one tile of a product leave sums for each other; see include/divide.glsl.
type Parts struct {
	Address         uint64 // PartsBytes(Multiprocessors), at first zeros, for all products that run one after another; 0: none
	Multiprocessors int    // that the product is divided between
}

// PartsBytes is the size of Parts: a large tile for each of two workgroups on every multiprocessor, or more smaller ones.
func PartsBytes(multiprocessors int) int64 { return 4 * int64(MostPlaces+partsFloats(multiprocessors)) }

func partsFloats(multiprocessors int) int { return 2 * multiprocessors * largeTile * largeTile }

// places is how many workgroups a device of such kernels runs at once, each multiprocessor so many, as far as Parts has room for their
// tiles; 0 where products are not divided.
func (p Parts) places(k *Kernels, each uint32, tile tileShape) int {
	if p.Address == 0 || !k.info.InOrder {
		return 0
	}
	return min(p.Multiprocessors*int(each), MostPlaces, partsFloats(p.Multiprocessors)/(tile.outputs*tile.rows))
}

// divided is how many workgroups a row of tiles has, one of so many rows: divisionOf of include/divide.glsl.
func divided(tiles, rows, places, panels int) int {
	if rows == 0 {
		return 0
	}
	each, rest := places/rows, 0
	if each > 1 {
		rest = tiles % each
	}
	if rest == 0 || rest*5 > each*4 {
		return tiles
	}
	most := min(MostParts, panels)
	if even := rest * min(most, each/rest); even*8 >= each*7 {
		return tiles - rest + even
	}
	return tiles - rest + min(each, rest*most)
}
