package shaders

import (
	"math"

	"lorikeet/compute"
)

// coopTile cuts a product by cooperative matrices into workgroups; the fields are the constants of include/coop.glsl.
// The zero value stands for a product that other kernels do faster.
type coopTile struct {
	eachN, eachT, acrossN, acrossT, splitK, tileK, buffers, depth uint32
}

// coopTiles are the tiles as measured on an H200 in bf16: up to how many rows each is used, where W has many outputs
// and where it has few. With few rows the weights have to stream, and what limits them is how much is on its way at a
// time; few outputs then want small tiles, of which there are enough for every multiprocessor, although each tile reads
// all of x. With many rows it is how often tiles read both operands, and how many of them fit a multiprocessor beside
// each other.
var coopTiles = []struct {
	tokens    int
	wide, few coopTile
}{
	{tokens: 4},
	{tokens: 8, wide: coopTile{4, 1, 1, 1, 4, 128, 1, 2}},
	{tokens: 16, wide: coopTile{4, 1, 1, 1, 4, 128, 1, 2}, few: coopTile{1, 1, 2, 1, 4, 128, 2, 3}},
	{tokens: 32, wide: coopTile{4, 2, 2, 1, 2, 64, 1, 2}, few: coopTile{1, 2, 2, 1, 4, 128, 2, 2}},
	{tokens: 64, wide: coopTile{2, 4, 4, 1, 1, 64, 1, 1}, few: coopTile{2, 2, 2, 2, 2, 128, 1, 2}},
	{tokens: 256, wide: coopTile{4, 2, 4, 2, 1, 64, 1, 1}, few: coopTile{2, 2, 2, 1, 2, 128, 1, 1}},
	{tokens: 1024, wide: coopTile{4, 4, 2, 2, 1, 32, 2, 1}, few: coopTile{4, 2, 2, 1, 1, 64, 1, 1}},
	{tokens: math.MaxInt, wide: coopTile{4, 4, 2, 2, 1, 32, 2, 1}, few: coopTile{4, 4, 2, 2, 1, 32, 2, 1}},
}

// coopShape returns the device's product of 16-bit matrices of the type with fp32 sums, the largest it has.
func coopShape(info compute.Info, t Type) (compute.CoopShape, bool) {
	var best compute.CoopShape
	if t == BF16 && !info.Has("VK_KHR_shader_bfloat16 cooperative matrix") {
		return best, false
	}
	for _, s := range info.CooperativeMatrix {
		fits := s.Scope == "subgroup" && s.A == t.String() && s.B == s.A && s.C == "f32" && s.Out == "f32" && s.M%4 == 0 && s.K%8 == 0
		if fits && s.M*s.N*s.K > best.M*best.N*best.K {
			best = s
		}
	}
	return best, best.M > 0
}

// coopSpec returns the constants of the product on the device, or false where it has to be multiplied without
// cooperative matrices.
func (p Project) coopSpec(info compute.Info) (projectCoopF16Spec, bool) {
	i := 0
	for p.Tokens > coopTiles[i].tokens {
		i++
	}
	if p.Out >= wideOutputs {
		return p.coopSpecOf(info, coopTiles[i].wide)
	}
	return p.coopSpecOf(info, coopTiles[i].few)
}

// coopSpecOf is coopSpec for a given tile.
func (p Project) coopSpecOf(info compute.Info, tile coopTile) (projectCoopF16Spec, bool) {
	shape, ok := coopShape(info, p.W.Type)
	if tile == (coopTile{}) || !ok {
		return projectCoopF16Spec{}, false
	}
	spec := projectCoopF16Spec{
		Type: uint32(p.W.Type), Norm: p.Norm != nil, Gather: p.Gather != 0,
		Threads: tile.acrossN * tile.acrossT * tile.splitK * count32(info.SubgroupSize),
		SizeN:   count32(shape.M), SizeT: count32(shape.N), SizeK: count32(shape.K),
		EachN: tile.eachN, EachT: tile.eachT, AcrossN: tile.acrossN, AcrossT: tile.acrossT,
		SplitK: tile.splitK, TileK: tile.tileK, Buffers: tile.buffers, Depth: tile.depth,
		Ending: p.end.kind, Lora: p.end.lora, HeadDim: p.end.head(),
	}
	return spec, spec.fits(info)
}

// fits says whether the device can run workgroups of the tile.
func (s projectCoopF16Spec) fits(info compute.Info) bool {
	return s.shared() <= info.MaxSharedMemory && int(s.Threads) <= info.MaxWorkgroupInvocations &&
		s.Threads%(s.TileK/8) == 0 && s.TileK%(s.SplitK*s.SizeK) == 0
}

func (s projectCoopF16Spec) tileN() int { return int(s.AcrossN * s.EachN * s.SizeN) }
func (s projectCoopF16Spec) tileT() int { return int(s.AcrossT * s.EachT * s.SizeT) }

// shared is the bytes of shared memory that a workgroup takes.
func (s projectCoopF16Spec) shared() int {
	slices := int(s.Buffers) * (s.tileN() + s.tileT()) * (int(s.TileK)/8 + 1)
	patches := int(s.AcrossN*s.AcrossT*s.SplitK*s.SizeN*s.SizeT) / 4
	if s.SplitK > 1 || s.Ending != EndNone {
		patches *= int(s.EachN * s.EachT)
	}
	ahead := 0
	if s.Ending != EndNone {
		ahead = 8*EpiloguePairs + 4*AheadRows + 4
	}
	return 16*max(slices, patches) + 4*s.tileT() + ahead
}

// coop launches project_coop; grid: {tiles of outputs * tiles of rows, 1, 1}.
func (p Project) coop(k *Kernels, spec projectCoopF16Spec) (compute.Dispatch, tileShape) {
	stem := "project_coop_" + p.W.Type.String()
	norm := p.norm()
	return compute.Dispatch{
		Label:  "project_coop",
		Kernel: k.kernel(stem, spec),
		Push: pushBytes(projectCoopF16Push{
			W: p.W.Address, X: p.X.Address, Y: p.Y.Address,
			Gamma: norm.Weight, Squares: norm.Squares, Gather: p.Gather, Epilogue: p.end.at, Slots: p.end.slots, Arrivals: p.end.arrivals,
			WStride: count32(p.W.Stride), XStride: count32(p.X.Stride), YStride: count32(p.Y.Stride),
			Inputs: count32(p.In), Outputs: count32(p.Out), Tokens: count32(p.Tokens),
			Parts: count32(norm.Parts), NormWidth: count32(norm.Width), Eps: norm.Eps,
		}),
		Groups: [3]uint32{count32(ceilDiv(p.padded(), spec.tileN()) * ceilDiv(p.Tokens, spec.tileT())), 1, 1},
		Bytes:  p.bytes(), Flops: p.flops(),
	}, tileShape{spec.tileN(), spec.tileT()}
}
