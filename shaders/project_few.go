package shaders

import "lorikeet/compute"

// mostColumns is how many rows one read of the weights serves.
const mostColumns = 8

// fewShapes cut a product into workgroups, as measured on an H200: up to how many rows each is used, and lanes, rows
// per lane and unrolling where W has many outputs, and where it has few. More columns want fewer lanes, because lanes
// fold their sums at the end and because those at the same place of K share their reads of x; but fewer lanes make
// fewer workgroups, which starve the device when outputs are few.
var fewShapes = []struct {
	tokens    int
	wide, few [3]uint32
}{
	{tokens: 1, wide: [3]uint32{256, 2, 1}, few: [3]uint32{64, 2, 1}},
	{tokens: 2, wide: [3]uint32{16, 4, 2}, few: [3]uint32{64, 4, 2}},
	{tokens: 4, wide: [3]uint32{16, 8, 1}, few: [3]uint32{64, 4, 1}},
	{tokens: 8, wide: [3]uint32{16, 8, 2}, few: [3]uint32{64, 4, 1}},
	{tokens: mostFew, wide: [3]uint32{16, 8, 2}, few: [3]uint32{32, 8, 2}},
}

func (p Project) fewSpec() projectFewSpec {
	i := 0
	for p.Tokens > fewShapes[i].tokens {
		i++
	}
	shape := fewShapes[i].few
	if wide := fewShapes[i].wide; p.Out >= wideOutputs && (p.end.kind == EndNone || blockOutputs(wide)%unitOutputs == 0) {
		shape = wide
	}
	return projectFewSpec{
		Type: uint32(p.W.Type), Norm: p.Norm != nil, Gather: p.Gather != 0, Columns: count32(min(p.Tokens, mostColumns)),
		Lanes: shape[0], Rows: shape[1], Unroll: shape[2],
		Ending: p.end.kind, Lora: p.end.lora, HeadDim: p.end.head(),
	}
}

// blockOutputs is the outputs of a workgroup of the shape.
func blockOutputs(shape [3]uint32) int { return projectFewThreads / int(shape[0]) * int(shape[1]) }

// few launches project_few; grid: {blocks of outputs * blocks of rows, 1, 1}.
func (p Project) few(k *Kernels, spec projectFewSpec) (compute.Dispatch, tileShape) {
	tile := tileShape{outputs: blockOutputs([3]uint32{spec.Lanes, spec.Rows}), rows: int(spec.Columns)}
	norm := p.norm()
	return compute.Dispatch{
		Label:  "project_few",
		Kernel: k.kernel("project_few", spec),
		Push: pushBytes(projectFewPush{
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
