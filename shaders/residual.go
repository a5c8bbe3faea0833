package shaders

import "lorikeet/compute"

// Residual adds a projection's output and its LoRA delta to the residual stream,
//
//	X[t,n] += Y[t,n] + delta(t, n)
//
// and leaves the partial sums of squares of each row for the next norm.
type Residual struct {
	X, Y      Rows
	Half      *Halves // X once more, times gamma, written; nil: not
	Squares   uint64  // fp32 [t][ceil(Width/c)], written, sums of c columns: with Fine Kernels.SquaresUnit, else SquaresBlock, in a Fused FusedSquares
	Fine      bool    // see Squares
	Width     int
	Tiles     uint64     // RowTile [TileCount]; rows outside every tile are left alone
	Lora      *SiteDelta // one site; nil without adapters
	Slices    int        // as Shrink.Slices: so many columns of Hidden, MaxRank apart, are added up for a product; not in a Fused
	Type      Type       // of the adapters
	Count     int        // rows, for the estimate of the work
	TileCount int        // tiles of the grid; an Indirect decides over it
}

// ResidualGroups is the grid for so many tiles.
func ResidualGroups(width, tiles int) [3]uint32 {
	return [3]uint32{count32(ceilDiv(width, SquaresBlock)), count32(tiles), tileQuads}
}

// Dispatch returns the launch. Bytes and flops leave the adapters out.
func (r Residual) Dispatch(k *Kernels) compute.Dispatch {
	push := residualPush{
		X: r.X.Address, Y: r.Y.Address, Squares: r.Squares, Tiles: r.Tiles,
		XStride: count32(r.X.Stride), YStride: count32(r.Y.Stride), Width: count32(r.Width),
		Halves: r.Half.address(), Gamma: r.Half.gamma(), HalfPanels: r.Half.panels(),
	}
	if r.Lora != nil {
		push.Table, push.Hidden = r.Lora.Table, r.Lora.Hidden.Address
		push.SitesPerSlot, push.FirstSite = count32(r.Lora.SitesPerSlot), count32(r.Lora.FirstSite)
		push.HiddenStride, push.MaxRank = count32(r.Lora.Hidden.Stride), count32(r.Lora.MaxRank)
	}
	values := int64(r.Count) * int64(r.Width)
	return compute.Dispatch{
		Label: "residual",
		Kernel: k.kernel("residual", residualSpec{
			Type: uint32(r.Type), Lora: r.Lora != nil, Fine: r.Fine, Half: r.Half != nil, Slices: count32(max(1, r.Slices)),
		}),
		Push:   pushBytes(push),
		Groups: ResidualGroups(r.Width, r.TileCount),
		Bytes:  12 * values,
		Flops:  3 * values,
	}
}

func (r Residual) ending() (kind uint32, e Epilogue) {
	if r.Slices > 1 {
		panic("shaders: a residual sum in a Fused adds up no slices")
	}
	e = Epilogue{
		Result: r.X.Address, ResultStride: count32(r.X.Stride), Width: count32(r.Width), Squares: r.Squares,
	}
	e.setDelta(r.Lora)
	e.setHalves(r.Half)
	return EndResidual, e
}
