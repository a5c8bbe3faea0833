package shaders

import "lorikeet/compute"

// Project multiplies rows with a weight matrix:
//
//	y[t, n] = sum_k W[n, k] * x[row(t), k]          without Norm
//	y[t, n] = sum_k W[n, k] * normed(row(t), k)     with it
//
// row(t) is the t-th entry of Gather, or t itself. It writes Out columns of Y and the pad behind them. Where Kernels.Panels says so, W is
// in panels, and Half has the rows of x instead of X: already gathered, already rounded to W's type and, with Norm, times gamma.
type Project struct {
	W       Matrix // [Out][In]
	X       Rows   // In columns
	Half    Halves // or these
	Y       Rows   // Out columns
	In, Out int
	Tokens  int // rows of Y
	Norm    *Norm
	Gather  uint64 // uint32 [Tokens], 0: none
	Parts   Parts  // where few tiles may be divided between many workgroups

	end inPlace // set by Fused
}

// mostFew is the number of rows up to which the kernels for few rows are the faster ones.
const mostFew = 64

// mostNarrow is that number by cooperative matrices where W has fewer outputs than wideOutputs: measured, see BENCHMARKS, Products of many rows.
const (
	mostNarrow  = 192
	wideOutputs = 16384
)

// Dispatch is the product by the kernel that suits the style and the number of rows.
func (p Project) Dispatch(k *Kernels) compute.Dispatch {
	d, _ := p.launch(k)
	return d
}

// Tiled is Dispatch, and how its grid covers rows, of which a step may have fewer than Tokens.
func (p Project) Tiled(k *Kernels) (compute.Dispatch, Tiling) {
	d, tile := p.launch(k)
	return d, p.tiling(tile)
}

// Tiling is how the grid of a product covers rows.
type Tiling struct {
	across  int  // tiles of outputs
	rows    int  // of a tile
	upright bool // tiles of rows are the grid's second dimension
	places  int  // for workgroups, between which tiles are divided; 0: they are not
	panels  int  // of a tile
	large   bool // see Large
}

// Large says whether workgroups of the product take so much shared memory that a stage of it is faster behind a barrier than flowing: more than
// flowDivision.
func (t Tiling) Large() bool { return t.large }

// Groups is the grid for the first rows of a product; the zero Tiling has none.
func (t Tiling) Groups(rows int) [3]uint32 {
	if t == (Tiling{}) {
		return [3]uint32{}
	}
	down := ceilDiv(rows, t.rows)
	if t.upright {
		return [3]uint32{count32(divided(t.across, down, t.places, t.panels)), count32(down), 1}
	}
	return [3]uint32{count32(t.across * down), 1, 1}
}

func (p Project) tiling(tile tileShape) Tiling {
	return Tiling{ceilDiv(p.padded(), tile.outputs), tile.rows, tile.upright, tile.places, int(p.Half.panels()), tile.large}
}

// byCoopMany says whether the product goes by project_coop_many.
func (p Project) byCoopMany(k *Kernels) bool {
	return k.Panels(p.W.Type) && p.Tokens > mostFew && (p.Tokens > mostNarrow || p.Out >= wideOutputs)
}

// launch is the product and the tile of one of its workgroups.
func (p Project) launch(k *Kernels) (compute.Dispatch, tileShape) {
	if k.style == Lanes {
		return p.lanes(k, p.lanesSpec())
	}
	if p.byCoopMany(k) {
		spec, places := p.coopManySpec(k, nil)
		return p.coopMany(k, spec, places)
	}
	if k.Panels(p.W.Type) {
		return p.coop(k, p.coopSpec(k, nil))
	}
	if p.Tokens <= mostFew {
		return p.few(k, p.fewSpec())
	}
	return p.many(k, p.manySpec())
}

// bytes is what has to move at least: the weights and both sides' activations once.
func (p Project) bytes() int64 {
	weights := int64(p.Out) * int64(p.In) * int64(p.W.Type.Size())
	return weights + 4*int64(p.Tokens)*int64(p.In+p.Out)
}

func (p Project) flops() int64 { return 2 * int64(p.Tokens) * int64(p.Out) * int64(p.In) }

// norm is the part of the push blocks that describes the norm, zero without one.
func (p Project) norm() Norm {
	if p.Norm == nil {
		return Norm{}
	}
	return *p.Norm
}

// padded is the columns of Y that are written.
func (p Project) padded() int { return ceilDiv(p.Out, 8) * 8 }
