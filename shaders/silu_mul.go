package shaders

import "lorikeet/compute"

// SiluMul is the gated activation, with the LoRA deltas of gate (Lora.FirstSite) and up (the site behind it):
//
//	Out[t,n] = silu(GateUp[t,n] + delta_gate(t,n)) * (GateUp[t,UpOffset+n] + delta_up(t,n)),  silu(g) = g / (1 + exp(-g))
type SiluMul struct {
	GateUp    Rows    // [t]: gate, then from UpOffset up; at least UpOffset plus Inner rounded up to 8 columns
	UpOffset  int     // a multiple of 4
	Out       Rows    // written, pad too; without an address, which takes Half: not
	Half      *Halves // Out once more, written; nil: not
	Inner     int
	Tiles     uint64     // RowTile [TileCount]; rows outside every tile are left alone
	Lora      *SiteDelta // two sites; nil without adapters
	Type      Type       // of the adapters
	Count     int        // rows, for the estimate of the work
	TileCount int        // tiles of the grid; an Indirect decides over it
}

// SiluMulGroups is the grid for so many tiles.
func SiluMulGroups(inner, tiles int) [3]uint32 {
	return [3]uint32{count32(ceilDiv(inner, siluMulColumns)), count32(tiles), tileQuads}
}

// Dispatch returns the launch. Bytes and flops leave the adapters out.
func (s SiluMul) Dispatch(k *Kernels) compute.Dispatch {
	mustLeave("silu_mul", s.Out, s.Half)
	push := siluMulPush{
		GateUp: s.GateUp.Address, Result: s.Out.Address, Tiles: s.Tiles,
		GateUpStride: count32(s.GateUp.Stride), UpOffset: count32(s.UpOffset),
		OutStride: count32(s.Out.Stride), Width: count32(s.Inner),
		Halves: s.Half.address(), HalfPanels: s.Half.panels(),
	}
	if s.Lora != nil {
		push.Table, push.Hidden = s.Lora.Table, s.Lora.Hidden.Address
		push.SitesPerSlot, push.FirstSite = count32(s.Lora.SitesPerSlot), count32(s.Lora.FirstSite)
		push.HiddenStride, push.MaxRank = count32(s.Lora.Hidden.Stride), count32(s.Lora.MaxRank)
	}
	values := int64(s.Count) * int64(s.Inner)
	return compute.Dispatch{
		Label:  "silu_mul",
		Kernel: k.kernel("silu_mul", siluMulSpec{Type: uint32(s.Type), Lora: s.Lora != nil, Floats: s.Out.Address != 0, Half: s.Half != nil}),
		Push:   pushBytes(push),
		Groups: SiluMulGroups(s.Inner, s.TileCount),
		Bytes:  12 * values,
		Flops:  5 * values,
	}
}

func (s SiluMul) ending() (kind uint32, e Epilogue) {
	e = Epilogue{Result: s.Out.Address, ResultStride: count32(s.Out.Stride), Width: count32(s.Inner)}
	e.Units = count32(ceilDiv(s.Inner, unitOutputs) * 2) // four gates and their ups; behind them may be rows of W that are padding
	e.setDelta(s.Lora)
	e.setHalves(s.Half)
	return EndSiluMul, e
}
