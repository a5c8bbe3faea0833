package shaders

import "lorikeet/compute"

// Shrink is the first half of the LoRA products of one input, for Sites consecutive columns of the adapter table:
//
//	Hidden[t, s*MaxRank + r] = inv(t) * sum_k A_s[r,k] * gamma[k] * X[row(t),k]    for each row r of A at (slot of t, site s)
//	Hidden[t, s*MaxRank + r] = 1                                                   for r = the row of B that is a bias
//
// without gamma and inv where Norm is nil; row(t) is the t-th entry of Gather, or t itself, for the norm as well. Hidden past
// an adapter's rank is left alone. Base tiles may be in the grid
// but do nothing, so the host puts adapter tiles first and counts only those.
type Shrink struct {
	Tiles        uint64 // RowTile [TileCount]
	Table        uint64 // AdapterSite [slot][SitesPerSlot]
	SitesPerSlot int
	FirstSite    int // table column of site 0
	Sites        int
	X            Rows
	In           int    // columns of X and of A; A's rows are In rounded up to 8
	Norm         *Norm  // nil: X is read as it is
	Gather       uint64 // uint32 [Count], 0: none
	Hidden       Rows
	MaxRank      int // columns of Hidden per site, the largest rank any adapter may have
	Type         Type
	Count        int // rows, for the estimate of the work
	TileCount    int // tiles of the grid; an Indirect decides over it

	end inPlace // of the projection beside it, set by Fused
}

// ShrinkGroups is the grid for adapter tiles whose largest rank is rank.
func (k *Kernels) ShrinkGroups(rank, tiles, sites int) [3]uint32 {
	block := shrinkRanks
	if k.style == Lanes {
		block = shrinkLanesThreads
	}
	return [3]uint32{count32(ceilDiv(rank, block)), count32(tiles), count32(sites)}
}

// Dispatch returns the launch. Bytes and flops are those of tiles that all have MaxRank.
func (s Shrink) Dispatch(k *Kernels) compute.Dispatch {
	push := shrinkPush{
		Tiles: s.Tiles, Table: s.Table, X: s.X.Address, Hidden: s.Hidden.Address,
		SitesPerSlot: count32(s.SitesPerSlot), FirstSite: count32(s.FirstSite),
		XStride: count32(s.X.Stride), Width: count32(s.In),
		Gather: s.Gather, HiddenStride: count32(s.Hidden.Stride), MaxRank: count32(s.MaxRank),
		Epilogue: s.end.at,
	}
	if s.Norm != nil {
		push.Gamma, push.Squares = s.Norm.Weight, s.Norm.Squares
		push.Parts, push.Eps = count32(s.Norm.Parts), s.Norm.Eps
	}
	spec := shrinkLanesSpec{Type: uint32(s.Type), Norm: s.Norm != nil, Gather: s.Gather != 0, Ending: s.end.kind, HeadDim: s.end.head()}
	var kernel *compute.Kernel
	if k.style == Lanes {
		kernel = k.kernel("shrink_lanes", spec)
	} else {
		kernel = k.kernel("shrink", shrinkSpec{spec.Type, spec.Norm, spec.Gather, spec.Ending, spec.HeadDim, s.end.half})
	}
	weights := int64(s.Sites) * int64(s.MaxRank) * int64(s.In)
	return compute.Dispatch{
		Label:  "shrink",
		Kernel: kernel,
		Push:   pushBytes(push),
		Groups: k.ShrinkGroups(s.MaxRank, s.TileCount, s.Sites),
		Bytes:  int64(s.TileCount)*weights*int64(s.Type.Size()) + 4*int64(s.Count)*int64(s.In+s.Sites*s.MaxRank),
		Flops:  2 * int64(s.Count) * weights,
	}
}
