package shaders

import "lorikeet/compute"

// manyTiles are the tiles of project_many, as measured on an H200: up to how many rows each is used, and rows and
// outputs per invocation. A tile of 8 x 8 reads shared memory least; with fewer rows smaller ones give more workgroups.
var manyTiles = []struct {
	tokens              int
	eachT, eachN, tileK uint32
}{
	{tokens: 256, eachT: 4, eachN: 4, tileK: 32},
	{tokens: 1 << 30, eachT: 8, eachN: 8, tileK: 16},
}

func (p Project) manySpec() projectManySpec {
	i := 0
	for p.Tokens > manyTiles[i].tokens {
		i++
	}
	tile := manyTiles[i]
	return projectManySpec{
		Type: uint32(p.W.Type), EachT: tile.eachT, EachN: tile.eachN, TileK: tile.tileK, Norm: p.Norm != nil, Gather: p.Gather != 0,
	}
}

// many launches project_many; grid: {tiles of outputs, tiles of rows, 1}.
func (p Project) many(k *Kernels, spec projectManySpec) (compute.Dispatch, tileShape) {
	norm, tile := p.norm(), tileShape{outputs: projectManySide * int(spec.EachN), rows: projectManySide * int(spec.EachT), upright: true}
	return compute.Dispatch{
		Label:  "project_many",
		Kernel: k.kernel("project_many", spec),
		Push: pushBytes(projectManyPush{
			W: p.W.Address, X: p.X.Address, Y: p.Y.Address,
			Gamma: norm.Weight, Squares: norm.Squares, Gather: p.Gather,
			WStride: count32(p.W.Stride), XStride: count32(p.X.Stride), YStride: count32(p.Y.Stride),
			Inputs: count32(p.In), Outputs: count32(p.Out), Tokens: count32(p.Tokens),
			Parts: count32(norm.Parts), NormWidth: count32(norm.Width), Eps: norm.Eps,
		}),
		Groups: p.tiling(tile).Groups(p.Tokens),
		Bytes:  p.bytes(), Flops: p.flops(),
	}, tile
}
