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
		lora     bool
		describe string
		batch    tiled
	}{
		{shaders.F32, 100, true, "mixed", tile(mixedRuns)},
		{shaders.F16, 523, true, "mixed", tile(mixedRuns)},
		{shaders.BF16, 768, true, "mixed", tile(mixedRuns)},
		{shaders.BF16, 513, false, "no adapters", baseTiles(19)},
	} {
		out = append(out, Case{
			Name: fmt.Sprintf("residual/%v/%d columns, %s", c.t, c.width, c.describe), Stem: "residual", Limit: 1e-6,
			Build: func(s *Setup) Run { return buildResidual(s, c.t, c.width, c.lora, c.batch) },
		})
	}
	return out
}

func buildResidual(s *Setup, t shaders.Type, width int, lora bool, batch tiled) Run {
	rows := len(batch.slots)
	x, xSpan, xValues := s.Activations(rows, width)
	yValues := s.normal(rows, width, shaders.F32, 1)
	y := shaders.Rows{Address: address(s.Bytes(shaders.F32.Encode(dirty(yValues, x.Stride)))), Stride: x.Stride}
	var set adapterSet
	var delta *shaders.SiteDelta
	var hidden reference.Matrix
	if lora {
		set = s.adapters(mixedRanks, 1, []int{width}, t)
		var at shaders.Rows
		at, hidden = s.hidden(set, batch.slots, 1)
		delta = set.delta(at)
	} else {
		hidden = reference.NewMatrix(rows, 0)
	}
	adapters := make([]reference.Adapter, rows)
	for t, sites := range set.ofRows(batch.slots, 1) {
		adapters[t] = sites[0]
	}
	want := reference.Residual(xValues, yValues, adapters, hidden)
	for t, slot := range batch.slots {
		if slot == skipped {
			copy(want.Row(t), xValues.Row(t))
		}
	}
	squares := reference.Squares(want, shaders.SquaresBlock)
	// A skipped row keeps what was there, so that is written there first.
	squaresSpan := s.Bytes(shaders.F32.Encode(keepSkipped(squares, batch.slots)))
	d := shaders.Residual{
		X: x, Y: y, Squares: address(squaresSpan), Width: width, Tiles: Place(s, batch.tiles), Lora: delta, Type: t,
		Count: rows, TileCount: len(batch.tiles),
	}.Dispatch(s.Kernels)
	return Run{Dispatches: []compute.Dispatch{d}, Check: func() (float64, error) {
		return s.worst(output{xSpan, x.Stride, want}, output{squaresSpan, squares.Columns, squares})
	}}
}
