package shaders

import (
	"fmt"

	"lorikeet/compute"
)

// Shrink is the first half of the LoRA products of one input, for Sites consecutive columns of the adapter table:
//
//	Hidden[t, s*MaxRank + r] = inv(t) * sum_k A_s[r,k] * gamma[k] * X[row(t),k]    for each row r of A at (slot of t, site s)
//	Hidden[t, s*MaxRank + r] = 1                                                   for r = the row of B that is a bias
//
// without gamma and inv where Norm is nil; row(t) is the t-th entry of Gather, or t itself, for the norm as well. Hidden past
// an adapter's rank is left alone, or filled up with zeros to a multiple of CoopRanks where the shrink takes halves. In a Fused these
// shrinks leave Hidden scaled, rounded and in Type, which matrices multiply with B. Base tiles may be in the grid but do nothing, so the
// host puts adapter tiles first and counts only those.
type Shrink struct {
	Tiles        uint64 // RowTile [TileCount]
	Table        uint64 // AdapterSite [slot][SitesPerSlot]
	SitesPerSlot int
	FirstSite    int // table column of site 0
	Sites        int
	X            Rows
	Half         *Halves // X as halves, already gathered, where the kernels take those; nil: X
	In           int     // columns of X and of A; A's rows are In rounded up to 8
	Norm         *Norm   // nil: X is read as it is
	Gather       uint64  // uint32 [Count], 0: none
	Hidden       Rows
	Slices       int // so many workgroups share X's columns, and each leaves its part of the products, MaxRank columns apart; 0: 1. See Kernels.ShrinkSlices
	MaxRank      int // columns of Hidden per site, at least the largest rank of any adapter; in a Fused HiddenColumns of it
	Type         Type
	Beside       bool // a product that does not flow runs beside it
	Count        int  // rows, for the estimate of the work and the size of workgroups
	TileCount    int  // tiles of the grid; an Indirect decides over it

	end    inPlace // of the projection beside it, set by Fused
	scaled bool    // Hidden is left as matrices multiply it with B, set by Fused
}

// HiddenColumns is how many columns of Shrink.Hidden a site takes for adapters up to a rank: matrices multiply whole blocks of them.
func HiddenColumns(rank int) int { return ceilDiv(rank, CoopRanks) * CoopRanks }

// MostSites is the most sites that share an input: q, k and v.
const MostSites = 3

// ShrinkSlices is Shrink.Slices beside a product whose outputs end in a stage behind: as many as Hidden has room for, which is for MostSites.
// The shrink of one site has one workgroup for 16 ranks and eight rows of an adapter, which would read on when the product beside
// it is done.
func (k *Kernels) ShrinkSlices(t Type, sites int) int {
	if !k.ShrinksHalves(t) {
		return 1
	}
	return MostSites / sites
}

// ShrinkGroups is the grid for adapter tiles of the type whose largest rank is rank, and so many sites times slices.
func (k *Kernels) ShrinkGroups(t Type, rank, tiles, sites int) [3]uint32 {
	block := shrinkRanks
	switch {
	case k.style == Lanes:
		block = shrinkLanesThreads
	case k.ShrinksHalves(t):
		block = CoopRanks
	}
	return [3]uint32{count32(ceilDiv(rank, block)), count32(tiles), count32(sites)}
}

// ShrinksHalves says whether a shrink with weights of the type takes halves.
func (k *Kernels) ShrinksHalves(t Type) bool {
	shape, ok := k.coopShapes[t]
	return ok && k.style == Matrices && k.fragments(t, shape)
}

// Dispatch returns the launch. Bytes and flops are those of tiles that all have MaxRank.
func (s Shrink) Dispatch(k *Kernels) compute.Dispatch {
	halves := s.Half != nil && k.ShrinksHalves(s.Type)
	if s.Slices > 1 && (!halves || s.scaled) {
		panic(fmt.Sprintf("shaders: a shrink of %d slices takes halves (%v), and is in no Fused", s.Slices, halves))
	}
	if halves {
		return s.coop(k)
	}
	push := shrinkPush{
		Tiles: s.Tiles, Table: s.Table, X: s.X.Address, Hidden: s.Hidden.Address,
		SitesPerSlot: count32(s.SitesPerSlot), FirstSite: count32(s.FirstSite),
		XStride: count32(s.X.Stride), Width: count32(s.In),
		Gather: s.Gather, HiddenStride: count32(s.Hidden.Stride), MaxRank: count32(s.MaxRank),
		Epilogue: s.end.at, Flow: s.end.flow,
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
		kernel = k.kernel("shrink", shrinkSpec{spec.Type, spec.Norm, spec.Gather, spec.Ending, spec.HeadDim, s.end.half, s.end.floats, s.end.flow != 0})
	}
	return s.launch(k, kernel, pushBytes(push))
}

// mostSparse is the number of rows up to which a shrink that runs alone has too few tiles to fill the device.
const mostSparse = 512

// coop launches shrink_coop. In a stage that flows its workgroups are large: each gets the more of the memory's bandwidth beside
// that of the projection the more it has on the way. So they are where few of them have the device to themselves. Beside a product that
// does not flow they are small, to find room on multiprocessors where that has workgroups yet.
func (s Shrink) coop(k *Kernels) compute.Dispatch {
	var norm Norm
	if s.Norm != nil {
		norm = *s.Norm
	}
	threads := uint32(256)
	switch {
	case s.Beside:
		threads = 128
	case s.end.flow != 0 || s.Count <= mostSparse:
		threads = 512
	}
	return s.launch(k, k.kernel("shrink_coop_"+s.Type.String(), shrinkCoopF16Spec{
		Type: uint32(s.Type), Threads: threads, SizeM: PanelRows, SizeN: PanelRows, SizeK: PanelColumns / 2, Fragments: true,
		Norm: s.Norm != nil, Gather: s.Gather != 0, Flow: s.end.flow != 0, Scaled: s.scaled, Slices: count32(max(1, s.Slices)),
	}), pushBytes(shrinkCoopF16Push{
		Tiles: s.Tiles, Table: s.Table, X: s.Half.Address, Hidden: s.Hidden.Address, Squares: norm.Squares, Gather: s.Gather, Flow: s.end.flow,
		SitesPerSlot: count32(s.SitesPerSlot), FirstSite: count32(s.FirstSite), Panels: s.Half.panels(), Width: count32(s.In),
		HiddenStride: count32(s.Hidden.Stride), MaxRank: count32(s.MaxRank), Parts: count32(norm.Parts), Eps: norm.Eps,
	}))
}

func (s Shrink) launch(k *Kernels, kernel *compute.Kernel, push []byte) compute.Dispatch {
	weights := int64(s.Sites) * int64(s.MaxRank) * int64(s.In)
	return compute.Dispatch{
		Label:  "shrink",
		Kernel: kernel,
		Push:   push,
		Groups: k.ShrinkGroups(s.Type, s.MaxRank, s.TileCount, s.Sites*max(1, s.Slices)),
		Bytes:  int64(s.TileCount)*weights*int64(s.Type.Size()) + 4*int64(s.Count)*int64(s.In+s.Sites*s.MaxRank),
		Flops:  2 * int64(s.Count) * weights,
	}
}
