package shaders

import "lorikeet/compute"

// lanesColumns is the most rows that one invocation of project_lanes multiplies each weight with.
const lanesColumns = 8

func (p Project) lanesSpec() projectLanesSpec {
	return projectLanesSpec{
		Type: uint32(p.W.Type), Columns: count32(min(p.Tokens, lanesColumns)), Norm: p.Norm != nil, Gather: p.Gather != 0,
		Ending: p.end.kind, Lora: p.end.lora, HeadDim: p.end.head(),
	}
}

// lanes launches project_lanes; grid: {blocks of outputs, blocks of rows, 1}.
func (p Project) lanes(k *Kernels, spec projectLanesSpec) (compute.Dispatch, tileShape) {
	tile := tileShape{outputs: projectLanesThreads * projectLanesRows, rows: int(spec.Columns), upright: true}
	norm := p.norm()
	return compute.Dispatch{
		Label:  "project_lanes",
		Kernel: k.kernel("project_lanes", spec),
		Push: pushBytes(projectLanesPush{
			W: p.W.Address, X: p.X.Address, Y: p.Y.Address,
			Gamma: norm.Weight, Squares: norm.Squares, Gather: p.Gather, Epilogue: p.end.at, Slots: p.end.slots, Arrivals: p.end.arrivals,
			WStride: count32(p.W.Stride), XStride: count32(p.X.Stride), YStride: count32(p.Y.Stride),
			Inputs: count32(p.In), Outputs: count32(p.Out), Tokens: count32(p.Tokens),
			Parts: count32(norm.Parts), NormWidth: count32(norm.Width), Eps: norm.Eps,
		}),
		Groups: p.tiling(tile).Groups(p.Tokens),
		Bytes:  p.bytes(), Flops: p.flops(),
	}, tile
}
