package shaders

import (
	"fmt"

	"lorikeet/compute"
)

// coopCut cuts a product of few rows into workgroups; the fields are constants of include/project_coop.glsl.
type coopCut struct{ strips, split, sides uint32 }

// coopCuts are the cuts as measured on an H100 in bf16: up to how many rows each is used, where W has many outputs and where it has so
// few that each multiprocessor gets about one workgroup. Strips times sides are even, because outputs may end in pairs.
var coopCuts = []struct {
	rows      int
	wide, few coopCut
}{
	{32, coopCut{2, 8, 1}, coopCut{2, 16, 1}},
	{mostFew, coopCut{2, 4, 1}, coopCut{2, 8, 1}},
	{2 * mostFew, coopCut{2, 2, 1}, coopCut{2, 4, 2}},
	{mostNarrow, coopCut{2, 4, 1}, coopCut{2, 8, 1}},
}

// sharedCut is that of 33 to 64 rows where W has wideOutputs or more, as measured on an H200: its sides have x in common.
var sharedCut = coopCut{2, 1, 4}

// shares says whether the cut's sides have x in common, by way of shared memory.
func (c coopCut) shares() bool { return c.split == 1 && c.sides > 1 }

// fewOutputs is up to where a W has few outputs.
const fewOutputs = 4096

// plainCut is the cut where lanes do not hold matrices as the kernels for FRAGMENTS want it, which until now is so on CPU devices. Their
// drivers take long to compile large ones.
var plainCut = coopCut{2, 2, 2}

// coopShapes returns the device's products of 16-bit matrices with fp32 sums, of each type the largest it has that panels are made of.
func coopShapes(info compute.Info) map[Type]compute.CoopShape {
	shapes := map[Type]compute.CoopShape{}
	for _, t := range []Type{F16, BF16} {
		if t == BF16 && !info.Has("VK_KHR_shader_bfloat16 cooperative matrix") {
			continue
		}
		if s := largestShape(info, t); s.M > 0 {
			shapes[t] = s
		}
	}
	return shapes
}

func largestShape(info compute.Info, t Type) compute.CoopShape {
	var best compute.CoopShape
	for _, s := range info.CooperativeMatrix {
		fits := s.Scope == "subgroup" && s.A == t.String() && s.B == s.A && s.C == "f32" && s.Out == "f32" &&
			s.M%4 == 0 && PanelRows%s.M == 0 && s.N%8 == 0 && PanelRows%s.N == 0 && s.K%8 == 0 && PanelRows%s.K == 0
		if fits && s.M*s.N*s.K > best.M*best.N*best.K {
			best = s
		}
	}
	return best
}

// Panels says whether products with weights of the type take these, and activations, in panels: by cooperative matrices.
func (k *Kernels) Panels(t Type) bool {
	if k.style != Matrices {
		return false
	}
	_, ok := k.coopShapes[t]
	return ok
}

// coopSpec returns the constants of project_coop with the cut for the device, or with another.
func (p Project) coopSpec(k *Kernels, cut *coopCut) projectCoopF16Spec {
	shape := k.coopShapes[p.W.Type]
	fragments := k.fragments(p.W.Type, shape)
	rowTiles := 1
	if fragments {
		rowTiles = ceilDiv(min(p.Tokens, mostFew), PanelRows)
	}
	c := plainCut
	switch {
	case cut != nil:
		c = *cut
	case fragments:
		c = p.tableCut()
	}
	if p.end.kind == EndRopeStore && p.end.headDim%(c.sides*c.strips*PanelRows) != 0 {
		c.split, c.sides = c.split*c.sides, 1 // the halves of a head would not be whole halves of a tile
	}
	spec := projectCoopF16Spec{
		Type: uint32(p.W.Type), Threads: c.split * c.sides * count32(k.info.SubgroupSize),
		SizeM: count32(shape.M), SizeN: count32(shape.N), SizeK: count32(shape.K), Fragments: fragments,
		Norm: p.Norm != nil, Gather: p.Gather != 0,
		Strips: c.strips, RowTiles: count32(rowTiles), Split: c.split, Sides: c.sides,
		Ending: p.end.kind, Lora: p.end.lora, Half: p.end.half, Floats: p.end.floats, HeadDim: p.end.head(),
		Flow: p.end.flow != 0, Shared: fragments && c.shares(),
	}
	if spec.Flow && p.Out <= fewOutputs && k.info.Multiprocessors > 0 {
		// From 33 rows on one workgroup has all registers of a multiprocessor; with fewer rows each takes more than lessDivision by itself.
		spec.Spare = count32(max(0, lessDivision-spec.shared()) / 4)
	}
	return spec
}

// tableCut is the cut that was measured for the product.
func (p Project) tableCut() coopCut {
	i := 0
	for p.Tokens > coopCuts[i].rows {
		i++
	}
	switch {
	case p.Out <= fewOutputs:
		return coopCuts[i].few
	case p.Out >= wideOutputs && coopCuts[i].rows == mostFew:
		return sharedCut
	}
	return coopCuts[i].wide
}

// fits says whether the device can run workgroups of the cut.
func (s projectCoopF16Spec) fits(info compute.Info) bool {
	even := !s.Shared || s.slice()%int(s.Threads) == 0 // each invocation loads as many chunks of a slice
	return even && s.shared() <= info.MaxSharedMemory && int(s.Threads) <= info.MaxWorkgroupInvocations
}

// slice is the chunks of x that a workgroup loads at a time.
func (s projectCoopF16Spec) slice() int { return int(s.RowTiles) * SlicePanels * PanelChunks }

func (s projectCoopF16Spec) tile() tileShape {
	return tileShape{outputs: int(s.Sides*s.Strips) * PanelRows, rows: int(s.RowTiles) * PanelRows}
}

// large says whether two workgroups whose sides share rows, for which a multiprocessor has registers, take more than flowDivision.
func (s projectCoopF16Spec) large() bool { return s.Shared && 2*(s.shared()+ownMemory) > flowDivision }

// shared is the bytes of shared memory that a workgroup takes.
func (s projectCoopF16Spec) shared() int {
	tile := s.tile()
	outputs := tile.outputs * tile.rows
	words := tile.rows
	if s.Shared {
		words += max(outputs, 2*4*s.slice()) // outputs come to lie where two slices of x were
	} else {
		words += outputs + int(max(s.Split, s.RowTiles)*s.Sides*s.Strips)*PanelRows*PanelRows
	}
	if s.Ending != EndNone {
		words += 2*EpiloguePairs + AheadRows
	}
	return 4 * (words + int(s.Spare))
}

// coop launches project_coop; grid: {tiles of outputs * tiles of rows, 1, 1}.
func (p Project) coop(k *Kernels, spec projectCoopF16Spec) (compute.Dispatch, tileShape) {
	norm, tile := p.norm(), spec.tile()
	tile.large = spec.large()
	return compute.Dispatch{
		Label:  "project_coop",
		Kernel: k.kernel("project_coop_"+p.W.Type.String(), spec),
		Push: pushBytes(projectCoopF16Push{
			W: p.W.Address, X: p.halves(), Y: p.Y.Address,
			Squares: norm.Squares, Gather: p.Gather, Epilogue: p.end.at, Slots: p.end.slots, Flow: p.end.flow,
			Panels: p.Half.panels(), YStride: count32(p.Y.Stride),
			Outputs: count32(p.Out), Tokens: count32(p.Tokens),
			Parts: count32(norm.Parts), NormWidth: count32(norm.Width), Eps: norm.Eps,
		}),
		Groups: p.tiling(tile).Groups(p.Tokens),
		Bytes:  p.bytes(), Flops: p.flops(),
	}, tile
}

// halves is the address of the activations. Who forgot to lay them, or the weights, out in panels is told so.
func (p Project) halves() uint64 {
	if !p.W.Panels || p.Half.Address == 0 || p.Half.Width != p.In {
		panic(fmt.Sprintf("shaders: a product of %d columns by cooperative matrices takes weights in panels (%v) and as many columns of halves (%d)",
			p.In, p.W.Panels, p.Half.Width))
	}
	return p.Half.Address
}
