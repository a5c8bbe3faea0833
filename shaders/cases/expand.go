package cases

import (
	"fmt"
	"math"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

func expandCases() []Case {
	var out []Case
	for _, c := range []struct {
		t        shaders.Type
		width    int
		describe string
		batch    tiled
	}{
		{shaders.F32, 101, "mixed", tile(mixedRuns)},
		{shaders.F16, 520, "mixed", tile(mixedRuns)},
		{shaders.BF16, 771, "mixed", tile(mixedRuns)},
		{shaders.F32, 264, "tall", tall()},
		{shaders.BF16, 530, "tall", tall()},
		{shaders.BF16, 4099, "one row", tile([]run{{4, 1}})},
	} {
		out = append(out, Case{
			Name: fmt.Sprintf("expand/%v/%d columns, %s", c.t, c.width, c.describe), Stem: "expand", Limit: 1e-6,
			Build: func(s *Setup) Run { return buildExpand(s, c.t, c.width, c.batch) },
		})
	}
	return append(out, Case{Name: "expand/f32/rows that are alike", Stem: "expand", Limit: 1e-6, Build: buildExpandAlike})
}

// buildExpandAlike gives all rows of an adapter the same input: their bits must be the same, wherever in its tiles they are.
func buildExpandAlike(s *Setup) Run {
	const width = 264
	batch := tile(inTiles([]run{{0, 1}, {1, 2}, {2, 5}, {3, 6}, {4, 9}, {5, 13}}))
	rows := len(batch.slots)
	inputs := make([]uint32, rows)
	for row, slot := range batch.slots {
		inputs[row] = uint32(slot)
	}
	set := s.adapters([]int{7, 16, 33, 64, 8, 12}, 1, []int{width}, shaders.F32)
	alike := func(columns int) (shaders.Rows, compute.Span, reference.Matrix) {
		given, values := s.normal(1, columns, shaders.F32, 1), reference.NewMatrix(rows, columns)
		for row := range rows {
			copy(values.Row(row), given.Row(0))
		}
		span := s.Bytes(shaders.F32.Encode(padded(values, columns)))
		return shaders.Rows{Address: address(span), Stride: columns}, span, values
	}
	y, span, values := alike(width)
	hidden, _, products := alike(set.maxRank)
	adapters := make([]reference.Adapter, rows)
	for row, sites := range set.ofRows(batch.slots, 1) {
		adapters[row] = sites[0]
	}
	want := reference.Expand(values, adapters, products)
	d := shaders.Expand{
		Y: y, Width: width, Tiles: Place(s, batch.tiles), Lora: *set.delta(hidden), Type: shaders.F32, Count: rows, TileCount: len(batch.tiles),
	}.Dispatch(s.Kernels)
	return Run{Dispatches: []compute.Dispatch{d}, Check: func() (float64, error) {
		if same, err := s.sameRows(span, y.Stride, inputs); err != nil || !same {
			return math.Inf(1), err
		}
		return s.worst(output{span, y.Stride, want})
	}}
}

func buildExpand(s *Setup, t shaders.Type, width int, batch tiled) Run {
	rows := len(batch.slots)
	y, span, values := s.Activations(rows, width)
	set := s.adapters(batch.ranks, 1, []int{width}, t)
	hidden, products := s.hidden(set, batch.slots, 1, 1)
	adapters := make([]reference.Adapter, rows)
	for t, sites := range set.ofRows(batch.slots, 1) {
		adapters[t] = sites[0]
	}
	want := reference.Expand(values, adapters, products)
	d := shaders.Expand{
		Y: y, Width: width, Tiles: Place(s, batch.tiles), Lora: *set.delta(hidden), Type: t, Count: rows, TileCount: len(batch.tiles),
	}.Dispatch(s.Kernels)
	return Run{Dispatches: []compute.Dispatch{d}, Check: func() (float64, error) {
		return s.worst(output{span, y.Stride, want})
	}}
}
