package model

import (
	"lorikeet/compute"
	"lorikeet/shaders"
)

// mostWhole is the most rows of a mixed program that runs the last layer for all
// of them. Up to here a layer takes about as long as its weights stream, however
// many rows it has.
const mostWhole = 192

// cut says whether the program leaves the end of the last layer to a tail.
func (k programKey) cut() bool { return k.part == mixedBody && k.rows > mostWhole }

// tail is what a body of many rows leaves out of the last layer, and the head.
// The rows that want logits come behind the step's in the residual stream, and
// first elsewhere.
func (f *forward) tail() {
	last := f.shape.Layers - 1
	f.stage("gather", f.keep()...)
	f.mlp(last, &f.weights.layers[last])
	f.head()
}

// keep copies what the tail needs of the rows that want logits: their residual
// stream, and what attention answered them.
func (f *forward) keep() []*compute.Dispatch {
	a := &f.activations
	gather := func(g shaders.GatherRows) *compute.Dispatch {
		g.Gather, g.Type, g.Count = address(f.block.buffer, f.block.kept), f.shape.Type, f.key.rows
		d := g.Dispatch(f.kernels)
		return &d
	}
	list := []*compute.Dispatch{gather(shaders.GatherRows{From: a.x, To: f.x()})}
	if a.attended.Address != 0 {
		list = append(list, gather(shaders.GatherRows{From: a.attended, To: a.kept}))
	}
	if a.halfAttended.Address != 0 {
		list = append(list, gather(shaders.GatherRows{FromHalf: &a.halfAttended, ToHalf: &a.halfKept}))
	}
	return list
}

// x is the residual stream of the program's rows.
func (f *forward) x() shaders.Rows {
	x := f.activations.x
	if f.key.part == tail {
		x.Address += uint64(f.limits.Rows) * uint64(x.Stride) * 4
	}
	return x
}

// squares are the sums of squares of x.
func (f *forward) squares() uint64 {
	at := f.activations.squares
	if f.key.part == tail {
		at += uint64(f.limits.Rows) * uint64(f.finestParts()) * 4
	}
	return at
}

// attended is what attention answered the program's rows.
func (f *forward) attended() (shaders.Rows, shaders.Halves) {
	if f.key.part == tail {
		return f.activations.kept, f.activations.halfKept
	}
	return f.activations.attended, f.activations.halfAttended
}

// tiles is where the tiles of the program's rows are; adapter tiles come first.
func (f *forward) tiles() uint64 {
	if f.key.part == tail {
		return address(f.block.buffer, f.block.headTiles)
	}
	return address(f.block.buffer, f.block.tiles)
}

// slots is where those of the program's rows are.
func (f *forward) slots() uint64 {
	if f.key.part == tail {
		return address(f.block.buffer, f.block.headSlots)
	}
	return address(f.block.buffer, f.block.slots)
}

// ofTail is the size of a tail's dispatch, whose like in a body goes by a grid.
func ofTail(g grid) grid { return g + grids }
