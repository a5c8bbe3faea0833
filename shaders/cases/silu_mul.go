package cases

import (
	"fmt"
	"math"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

func siluMulCases() []Case {
	var out []Case
	for _, c := range []struct {
		t        shaders.Type
		inner    int
		lora     bool
		describe string
		batch    tiled
	}{
		{shaders.F32, 100, true, "mixed", tile(mixedRuns)},
		{shaders.F16, 301, true, "mixed", tile(mixedRuns)},
		{shaders.BF16, 768, true, "mixed", tile(mixedRuns)},
		{shaders.BF16, 513, false, "no adapters", baseTiles(19)},
	} {
		out = append(out, Case{
			Name: fmt.Sprintf("silu_mul/%v/%d columns, %s", c.t, c.inner, c.describe), Stem: "silu_mul", Limit: 1e-6,
			Build: func(s *Setup) Run { return buildSiluMul(s, c.t, c.inner, c.lora, c.batch) },
		})
	}
	return out
}

func buildSiluMul(s *Setup, t shaders.Type, inner int, lora bool, batch tiled) Run {
	rows, upOffset := len(batch.slots), Pad8(inner)+8
	both := s.normal(rows, upOffset+inner, shaders.F32, 3)
	gate, up := reference.NewMatrix(rows, inner), reference.NewMatrix(rows, inner)
	for t := range rows {
		for between := inner; between < upOffset; between++ {
			both.Row(t)[between] = math.NaN()
		}
		copy(gate.Row(t), both.Row(t))
		copy(up.Row(t), both.Row(t)[upOffset:])
	}
	stride := Pad8(both.Columns)
	gateUp := shaders.Rows{Address: address(s.Bytes(shaders.F32.Encode(dirty(both, stride)))), Stride: stride}
	var set adapterSet
	var delta *shaders.SiteDelta
	var hidden reference.Matrix
	if lora {
		set = s.adapters(mixedRanks, 1, []int{inner, inner}, t)
		var at shaders.Rows
		at, hidden = s.hidden(set, batch.slots, 2)
		delta = set.delta(at)
	} else {
		hidden = reference.NewMatrix(rows, 0)
	}
	want := reference.SiluMul(gate, up, set.ofRows(batch.slots, 2), hidden, set.maxRank)
	for t, slot := range batch.slots {
		if slot == skipped {
			clear(want.Row(t))
		}
	}
	span := s.Bytes(shaders.F32.Encode(keepSkipped(padMatrix(want), batch.slots)))
	d := shaders.SiluMul{
		GateUp: gateUp, UpOffset: upOffset, Out: shaders.Rows{Address: address(span), Stride: Pad8(inner)}, Inner: inner,
		Tiles: Place(s, batch.tiles), Lora: delta, Type: t, Count: rows, TileCount: len(batch.tiles),
	}.Dispatch(s.Kernels)
	return Run{Dispatches: []compute.Dispatch{d}, Check: func() (float64, error) {
		return s.worst(output{span, Pad8(inner), want})
	}}
}
