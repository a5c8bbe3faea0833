package shaders

import (
	"math"

	"lorikeet/compute"
)

// coopManyCut cuts a product of many rows into workgroups; the fields are constants of include/project_coop_many.glsl.
type coopManyCut struct{ eachM, eachN, subgroupsM, subgroupsN uint32 }

// coopManyCuts are the cuts as measured on an H100 in bf16: up to how many rows each is used, where W has many outputs and where it
// has few. Large tiles read both operands less often, as long as there are two for every multiprocessor.
var coopManyCuts = []struct {
	rows      int
	wide, few coopManyCut
}{
	{1024, coopManyCut{4, 4, 2, 2}, coopManyCut{2, 4, 2, 2}},
	{math.MaxInt, coopManyCut{4, 4, 2, 2}, coopManyCut{4, 4, 2, 2}},
}

// largeCut is the largest, and largeTile its rows and outputs.
var largeCut = coopManyCut{4, 4, 2, 2}

const largeTile = 8 * PanelRows

// plainManyCut is the cut where lanes do not hold matrices as the kernels for FRAGMENTS want it.
var plainManyCut = coopManyCut{1, 2, 2, 2}

// wideOutputs is where a W begins to have many outputs.
const wideOutputs = 16384

// coopManySpec returns the constants of project_coop_many with the cut of the tables, or with another.
func (p Project) coopManySpec(k *Kernels, cut *coopManyCut) projectCoopManyF16Spec {
	shape := k.coopShapes[p.W.Type]
	fragments := k.fragments(p.W.Type, shape)
	switch {
	case cut != nil:
	case fragments && p.Shares(k) > 1:
		cut = &largeCut
	case fragments:
		i := 0
		for p.Tokens > coopManyCuts[i].rows {
			i++
		}
		cut = &coopManyCuts[i].few
		if p.Out >= wideOutputs {
			cut = &coopManyCuts[i].wide
		}
	default:
		cut = &plainManyCut
	}
	return projectCoopManyF16Spec{
		Type: uint32(p.W.Type), Threads: cut.subgroupsM * cut.subgroupsN * count32(k.info.SubgroupSize),
		SizeM: count32(shape.M), SizeN: count32(shape.N), SizeK: count32(shape.K), Fragments: fragments,
		Norm: p.Norm != nil, EachM: cut.eachM, EachN: cut.eachN, SubgroupsM: cut.subgroupsM, SubgroupsN: cut.subgroupsN, Gather: p.Gather != 0,
		Shares: count32(p.Shares(k)),
	}
}

// fits says whether the device can run workgroups of the cut.
func (s projectCoopManyF16Spec) fits(info compute.Info) bool {
	return s.shared() <= info.MaxSharedMemory && int(s.Threads) <= info.MaxWorkgroupInvocations &&
		s.SubgroupsM*s.EachM*PanelChunks%s.Threads == 0 && s.SubgroupsN*s.EachN*PanelChunks%s.Threads == 0
}

func (s projectCoopManyF16Spec) tile() tileShape {
	return tileShape{outputs: int(s.SubgroupsN*s.EachN) * PanelRows, rows: int(s.SubgroupsM*s.EachM) * PanelRows, shares: int(s.Shares)}
}

// shared is the bytes of shared memory that a workgroup takes.
func (s projectCoopManyF16Spec) shared() int {
	tile := s.tile()
	return 2*(tile.outputs+tile.rows)/PanelRows*panelBytes + 4*int(s.SubgroupsM*s.SubgroupsN)*PanelRows*PanelRows + 4*tile.rows
}

// coopMany launches project_coop_many; grid: {shares * tiles of outputs * tiles of rows, 1, 1}.
func (p Project) coopMany(k *Kernels, spec projectCoopManyF16Spec) (compute.Dispatch, tileShape) {
	norm, tile := p.norm(), spec.tile()
	return compute.Dispatch{
		Label:  "project_coop_many",
		Kernel: k.kernel("project_coop_many_"+p.W.Type.String(), spec),
		Push: pushBytes(projectCoopManyF16Push{
			W: p.W.Address, X: p.halves(), Y: p.Y.Address, Squares: norm.Squares, Gather: p.Gather,
			Panels: p.Half.panels(), YStride: count32(p.Y.Stride),
			Outputs: count32(p.Out), Tokens: count32(p.Tokens),
			Parts: count32(norm.Parts), NormWidth: count32(norm.Width), Eps: norm.Eps,
		}),
		Groups: p.tiling(tile).Groups(p.Tokens),
		Bytes:  p.bytes(), Flops: p.flops(),
	}, tile
}
