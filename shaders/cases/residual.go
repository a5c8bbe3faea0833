package cases

import (
	"fmt"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

func residualCases() []Case {
	var out []Case
	for _, c := range []struct {
		t        shaders.Type
		width    int
		fine     bool
		lora     bool
		slices   int
		describe string
		batch    tiled
	}{
		{shaders.F32, 100, true, true, 1, "mixed", tile(mixedRuns)},
		{shaders.F16, 523, false, true, 1, "mixed", tile(mixedRuns)},
		{shaders.F16, 331, true, true, 1, "mixed", tile(mixedRuns)},
		{shaders.BF16, 768, false, true, 1, "mixed", tile(mixedRuns)},
		{shaders.F32, 270, true, true, 1, "tall", tall()},
		{shaders.F16, 600, false, true, 1, "tall", tall()},
		{shaders.BF16, 341, true, true, 1, "tall", tall()},
		{shaders.BF16, 1032, false, true, 1, "tall", tall()},
		{shaders.BF16, 768, false, true, 3, "mixed, sliced", tile(mixedRuns)},
		{shaders.F16, 523, true, true, 3, "tall, sliced", tall()},
		{shaders.BF16, 513, false, false, 1, "no adapters", baseTiles(19)},
	} {
		out = append(out, Case{
			Name: fmt.Sprintf("residual/%v/%d columns, %s", c.t, c.width, c.describe), Stem: "residual", Limit: 1e-6,
			Build: func(s *Setup) Run { return buildResidual(s, c.t, c.width, c.fine, c.lora, c.slices, c.batch) },
		})
	}
	return out
}

func buildResidual(s *Setup, t shaders.Type, width int, fine, lora bool, slices int, batch tiled) Run {
	rows := len(batch.slots)
	yValues := s.normal(rows, width, shaders.F32, 1)
	stride := Pad8(width)
	y := shaders.Rows{Address: address(s.Bytes(shaders.F32.Encode(dirty(yValues, stride)))), Stride: stride}
	d := s.noDeltas(rows)
	if lora {
		d = s.deltas(batch, 1, []int{width}, t, slices)
	}
	half, block := s.halves(rows, width, t, true), shaders.SquaresBlock
	if fine {
		block = half.unit()
	}
	op, check := s.residual(batch, yValues, d, block, half)
	op.Fine = fine
	op.Y, op.Type, op.Slices = y, t, slices
	return Run{Dispatches: []compute.Dispatch{op.Dispatch(s.Kernels)}, Check: check}
}

// residual adds y's values, and what d adds to them, to a new residual stream, whose squares are summed by blocks. The caller sets where y
// lies and its type.
func (s *Setup) residual(batch tiled, y reference.Matrix, d deltas, block int, half halved) (shaders.Residual, func() (float64, error)) {
	rows := len(batch.slots)
	x, xSpan, xValues := s.Activations(rows, y.Columns)
	adapters := make([]reference.Adapter, rows)
	for t, sites := range d.set.ofRows(batch.slots, 1) {
		adapters[t] = sites[0]
	}
	want := reference.Residual(xValues, y, adapters, d.hidden)
	for t, slot := range batch.slots {
		if slot == skipped {
			copy(want.Row(t), xValues.Row(t))
		}
	}
	squares := reference.Squares(want, block)
	// A skipped row keeps what was there, so that is written there first.
	squaresSpan := s.Bytes(shaders.F32.Encode(keepSkipped(squares, batch.slots)))
	op := shaders.Residual{
		X: x, Half: half.Halves, Squares: address(squaresSpan), Width: y.Columns, Tiles: Place(s, batch.tiles), Lora: d.site,
		Count: rows, TileCount: len(batch.tiles),
	}
	return op, s.andHalves(half, xSpan, rows, x.Stride, batch.skips, func() (float64, error) {
		return s.worst(output{xSpan, x.Stride, want}, output{squaresSpan, squares.Columns, squares})
	})
}
