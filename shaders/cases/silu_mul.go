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
		{shaders.F32, 301, true, "tall", tall()},
		{shaders.BF16, 520, true, "tall", tall()},
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
	d := s.noDeltas(rows)
	if lora {
		d = s.deltas(batch, 1, []int{inner, inner}, t, 1)
	}
	half := s.halves(rows, inner, t, false)
	op, check := s.siluMul(batch, gate, up, d, half)
	op.GateUp, op.UpOffset, op.Type = gateUp, upOffset, t
	dispatches, alone := s.withAlone(half, op.Dispatch(s.Kernels), func(h *shaders.Halves) compute.Dispatch {
		op.Out, op.Half = shaders.Rows{}, h
		return op.Dispatch(s.Kernels)
	})
	return Run{Dispatches: dispatches, Check: s.andAlone(half, alone, check)}
}

// siluMul takes gate and up, and what d adds to them. The caller sets where they lie and the adapters' type.
func (s *Setup) siluMul(batch tiled, gate, up reference.Matrix, d deltas, half halved) (shaders.SiluMul, func() (float64, error)) {
	want := reference.SiluMul(gate, up, d.set.ofRows(batch.slots, 2), d.hidden, d.set.maxRank)
	for t, slot := range batch.slots {
		if slot == skipped {
			clear(want.Row(t))
		}
	}
	stride := Pad8(gate.Columns)
	span := s.Bytes(shaders.F32.Encode(keepSkipped(padMatrix(want), batch.slots)))
	op := shaders.SiluMul{
		Out: shaders.Rows{Address: address(span), Stride: stride}, Half: half.Halves, Inner: gate.Columns,
		Tiles: Place(s, batch.tiles), Lora: d.site, Count: len(batch.slots), TileCount: len(batch.tiles),
	}
	check := func() (float64, error) { return s.worst(output{span, stride, want}) }
	return op, s.andHalves(half, span, len(batch.slots), stride, batch.skips, check)
}
