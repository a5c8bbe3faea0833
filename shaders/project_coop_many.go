package shaders

import "lorikeet/compute"

// coopManyCut cuts a product of many rows into workgroups; the fields are constants of include/project_coop_many.glsl, and how many
// workgroups a multiprocessor runs at once.
type coopManyCut struct{ eachM, eachN, subgroupsM, subgroupsN, places uint32 }

// manyCut is the cut as measured on an H100 in bf16, the fastest one for every W of an 8B model from 129 rows on. Two of its workgroups
// fill a multiprocessor's registers.
var manyCut = coopManyCut{4, 4, 2, 2, 2}

// largeTile is its rows and outputs; no tile is larger.
const largeTile = 8 * PanelRows

// mostBeside is the number of rows up to which x loads first and W behind the products: with more, W loads first (multiplyByRows), but where deltas are added,
// with which that gains nothing.
const mostBeside = 2048

// plainManyCut is the cut where lanes do not hold matrices as the kernels for FRAGMENTS want it. Their drivers take long to compile large
// ones.
var plainManyCut = coopManyCut{1, 2, 2, 2, 2}

// coopManySpec returns the constants of project_coop_many with the cut for the device, or with another, and the places for its workgroups.
func (p Project) coopManySpec(k *Kernels, cut *coopManyCut) (projectCoopManyF16Spec, int) {
	shape := k.coopShapes[p.W.Type]
	fragments := k.fragments(p.W.Type, shape)
	switch {
	case cut != nil:
	case fragments:
		cut = &manyCut
	default:
		cut = &plainManyCut
	}
	spec := projectCoopManyF16Spec{
		Type: uint32(p.W.Type), Threads: cut.subgroupsM * cut.subgroupsN * count32(k.info.SubgroupSize),
		SizeM: count32(shape.M), SizeN: count32(shape.N), SizeK: count32(shape.K), Fragments: fragments,
		Norm: p.Norm != nil, EachM: cut.eachM, EachN: cut.eachN, SubgroupsM: cut.subgroupsM, SubgroupsN: cut.subgroupsN, Gather: p.Gather != 0,
		Ending: p.end.kind, Lora: p.end.lora, Half: p.end.half, Floats: p.end.floats, HeadDim: p.end.head(),
		Fine: p.end.fine, XBehind: fragments && !p.end.lora && p.Tokens > mostBeside,
	}
	return spec, p.Parts.places(k, cut.places, spec.tile())
}

// runs says whether lanes end outputs in the registers they are summed in, which takes four blocks of them side by side: RUNS.
func (s projectCoopManyF16Spec) runs() bool { return s.Fragments && s.Ending != EndNone }

// fits says whether the device can run workgroups of the cut.
func (s projectCoopManyF16Spec) fits(info compute.Info) bool {
	return (!s.runs() || s.EachM == 4 && s.EachN == 4) && s.shared() <= info.MaxSharedMemory && int(s.Threads) <= info.MaxWorkgroupInvocations &&
		s.SubgroupsM*s.EachM*PanelRows*4%s.Threads == 0 && s.SubgroupsN*s.EachN*2*DeltaRanks%s.Threads == 0
}

func (s projectCoopManyF16Spec) tile() tileShape {
	return tileShape{outputs: int(s.SubgroupsN*s.EachN) * PanelRows, rows: int(s.SubgroupsM*s.EachM) * PanelRows}
}

// shared is the bytes of shared memory that a workgroup takes.
func (s projectCoopManyF16Spec) shared() int {
	tile := s.tile()
	words := tile.rows
	if s.Ending != EndNone {
		words += 2*EpiloguePairs + AheadRows + int(s.SubgroupsN)*tile.rows
	}
	slices := 0 // of deltas, in chunks
	if s.Lora {
		slices = 2 * (tile.rows/PanelRows*PanelChunks + PanelColumns*(tile.outputs/8+1))
		words += tile.rows + 1
	}
	patches := int(s.SubgroupsM*s.SubgroupsN) * 2 * PanelRows * PatchStride / 4
	if s.runs() {
		patches = 1
	}
	return panelBytes/PanelChunks*max(slices, patches) + 4*words
}

// coopMany launches project_coop_many; so many workgroups at once.
func (p Project) coopMany(k *Kernels, spec projectCoopManyF16Spec, places int) (compute.Dispatch, tileShape) {
	norm, tile := p.norm(), spec.tile()
	tile.places, tile.upright = places, true
	return compute.Dispatch{
		Label:  "project_coop_many",
		Kernel: k.kernel("project_coop_many_"+p.W.Type.String(), spec),
		Push: pushBytes(projectCoopManyF16Push{
			W: p.W.Address, X: p.halves(), Y: p.Y.Address, Squares: norm.Squares, Gather: p.Gather,
			Left: p.Parts.Address, Epilogue: p.end.at, Slots: p.end.slots, Places: count32(places),
			Panels: p.Half.panels(), YStride: count32(p.Y.Stride),
			Outputs: count32(p.Out), Tokens: count32(p.Tokens),
			Parts: count32(norm.Parts), NormWidth: count32(norm.Width), Eps: norm.Eps,
		}),
		Groups: p.tiling(tile).Groups(p.Tokens),
		Bytes:  p.bytes(), Flops: p.flops(),
	}, tile
}
