package cases

import (
	"fmt"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

func embedCases() []Case {
	var out []Case
	for _, c := range []struct {
		t     shaders.Type
		width int
	}{{shaders.F32, 100}, {shaders.F16, 97}, {shaders.BF16, 520}} {
		out = append(out, Case{
			Name: fmt.Sprintf("embed/%v/%d columns", c.t, c.width), Stem: "embed", Limit: 1e-6,
			Build: func(s *Setup) Run { return buildEmbed(s, c.t, c.width) },
		})
	}
	return out
}

func buildEmbed(s *Setup, t shaders.Type, width int) Run {
	const vocabulary, lanes, rows = 97, 5, 11
	values := s.normal(vocabulary, width, t, 1)
	stride := Pad8(width)
	table := shaders.Matrix{Address: address(s.Bytes(t.Encode(dirty(values, stride)))), Stride: stride, Type: t}
	last, tokens, ids := make([]uint32, lanes), make([]uint32, rows), make([]int, rows)
	for lane := range last {
		last[lane] = uint32(s.Random.IntN(vocabulary))
	}
	for i := range tokens {
		tokens[i] = uint32(s.Random.IntN(vocabulary))
		ids[i] = int(tokens[i])
		if i%3 == 1 {
			lane := s.Random.IntN(lanes)
			tokens[i] = shaders.FromLast | uint32(lane)
			ids[i] = int(last[lane])
		}
	}
	x, xSpan := s.Output(rows, width)
	want := reference.Embed(values, ids)
	squares := reference.Squares(want, shaders.SquaresBlock)
	squaresSpan := s.Alloc(4 * rows * squares.Columns)
	d := shaders.Embed{
		Table: table, Tokens: Place(s, tokens), LastTokens: Place(s, last), X: x, Squares: address(squaresSpan),
		Width: width, Count: rows,
	}.Dispatch(s.Kernels)
	return Run{Dispatches: []compute.Dispatch{d}, Check: func() (float64, error) {
		return s.worst(output{xSpan, x.Stride, want}, output{squaresSpan, squares.Columns, squares})
	}}
}
