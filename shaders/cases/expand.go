package cases

import (
	"fmt"

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
	return out
}

func buildExpand(s *Setup, t shaders.Type, width int, batch tiled) Run {
	rows := len(batch.slots)
	y, span, values := s.Activations(rows, width)
	set := s.adapters(batch.ranks, 1, []int{width}, t)
	hidden, products := s.hidden(set, batch.slots, 1)
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
