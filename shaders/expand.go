package shaders

import "lorikeet/compute"

// Expand is the second half of a LoRA product, added to rows that are already there:
//
//	Y[t,n] += scale * sum_r B[r,n] * Hidden[t,r]
//
// for the rows of the tiles whose adapter has the site. Most expands are folded into a kernel that reads Y anyway; this one
// serves where none does. As for Shrink, base tiles may be in the grid but do nothing.
type Expand struct {
	Y         Rows      // fp32, read and written; the pad of a row stays zero
	Width     int       // columns of Y, and of B
	Tiles     uint64    // RowTile [TileCount]
	Lora      SiteDelta // one site
	Type      Type      // of the adapters
	Count     int       // rows, for the estimate of the work
	TileCount int       // tiles of the grid; an Indirect decides over it
}

// tileQuads is how many workgroups share the rows of a tile where its outputs end in a stage of their own.
const tileQuads = TileRows / QuadRows

// ExpandGroups is the grid for so many adapter tiles.
func ExpandGroups(width, tiles int) [3]uint32 {
	return [3]uint32{count32(ceilDiv(width, expandColumns)), count32(tiles), tileQuads}
}

// Dispatch returns the launch. Bytes and flops are those of tiles that all have MaxRank.
func (e Expand) Dispatch(k *Kernels) compute.Dispatch {
	weights := int64(e.Lora.MaxRank) * int64(e.Width)
	return compute.Dispatch{
		Label:  "expand",
		Kernel: k.kernel("expand", expandSpec{Type: uint32(e.Type)}),
		Push: pushBytes(expandPush{
			Y: e.Y.Address, Tiles: e.Tiles, Table: e.Lora.Table, Hidden: e.Lora.Hidden.Address,
			YStride: count32(e.Y.Stride), Width: count32(e.Width), SitesPerSlot: count32(e.Lora.SitesPerSlot),
			Site: count32(e.Lora.FirstSite), HiddenStride: count32(e.Lora.Hidden.Stride),
		}),
		Groups: ExpandGroups(e.Width, e.TileCount),
		Bytes:  int64(e.TileCount)*weights*int64(e.Type.Size()) + 8*int64(e.Count)*int64(e.Width),
		Flops:  2 * int64(e.Count) * weights,
	}
}
