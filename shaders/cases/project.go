package cases

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

// projectShape is one product. gather takes the rows in a random order, with repetitions.
type projectShape struct {
	kind            shaders.Type
	tokens, in, out int
	norm, gather    bool
	spread          float64 // of x; 0: 1
	covered         int     // rows that the grid covers; 0: all
	multiprocessors int     // that tiles are divided between
}

func projectCases() []Case {
	var list []Case
	for _, p := range []projectShape{
		{kind: shaders.F32, tokens: 1, in: 100, out: 997, norm: true},
		{kind: shaders.BF16, tokens: 1, in: 2152, out: 264},
		{kind: shaders.F16, tokens: 1, in: 96, out: 16390, norm: true},
		{kind: shaders.F16, tokens: 2, in: 1100, out: 132, norm: true, gather: true},
		{kind: shaders.BF16, tokens: 3, in: 100, out: 7},
		{kind: shaders.F32, tokens: 4, in: 64, out: 257, gather: true},
		{kind: shaders.F16, tokens: 7, in: 300, out: 33},
		{kind: shaders.BF16, tokens: 8, in: 1000, out: 61, norm: true, gather: true},
		{kind: shaders.BF16, tokens: 9, in: 100, out: 997, norm: true, gather: true},
		{kind: shaders.F16, tokens: 64, in: 552, out: 65},
		{kind: shaders.F32, tokens: 65, in: 100, out: 130, norm: true},
		{kind: shaders.BF16, tokens: 99, in: 264, out: 130},
		{kind: shaders.BF16, tokens: 100, in: 264, out: 6150},
		{kind: shaders.F16, tokens: 150, in: 136, out: 6150, norm: true},
		{kind: shaders.F16, tokens: 300, in: 100, out: 129, norm: true, gather: true},
		{kind: shaders.F16, tokens: 16, in: 1000, out: 61, norm: true},
		{kind: shaders.F16, tokens: 19, in: 200, out: 61, norm: true, spread: 3e4}, // some of it beyond f16
		{kind: shaders.F16, tokens: 5, in: 40, out: 16390},
		{kind: shaders.F16, tokens: 23, in: 1096, out: 100, norm: true, gather: true},
		{kind: shaders.BF16, tokens: 32, in: 100, out: 16387},
		{kind: shaders.BF16, tokens: 47, in: 1096, out: 100, norm: true, gather: true},
		{kind: shaders.F16, tokens: 40, in: 24, out: 16390},
		{kind: shaders.BF16, tokens: 64, in: 40, out: 16384, norm: true},
		{kind: shaders.F16, tokens: 50, in: 424, out: 16390, norm: true, gather: true},
		{kind: shaders.BF16, tokens: 33, in: 264, out: 16500},
		{kind: shaders.F16, tokens: 66, in: 24, out: 16390, norm: true},
		{kind: shaders.BF16, tokens: 257, in: 300, out: 385},
		{kind: shaders.BF16, tokens: 1025, in: 72, out: 130},
		{kind: shaders.F16, tokens: 520, in: 72, out: 140, norm: true, covered: 259},
		{kind: shaders.BF16, tokens: 2100, in: 40, out: 257, covered: 2},
		{kind: shaders.F16, tokens: 2050, in: 136, out: 140},
		{kind: shaders.F16, tokens: 250, in: 72, out: 100, covered: 65},
		{kind: shaders.F16, tokens: 70, in: 300, out: 16390, norm: true, multiprocessors: 33},
		{kind: shaders.F16, tokens: 260, in: 100, out: 140, multiprocessors: 40},
		{kind: shaders.F16, tokens: 290, in: 3000, out: 257, norm: true, gather: true, multiprocessors: 59, covered: 200},
		{kind: shaders.F16, tokens: 200, in: 200, out: 1400, norm: true, multiprocessors: 8},
		{kind: shaders.F16, tokens: 512, in: 400, out: 1090, multiprocessors: 132},
		{kind: shaders.F16, tokens: 1030, in: 40, out: 300, multiprocessors: 120},
		{kind: shaders.BF16, tokens: 1000, in: 300, out: 700, norm: true, multiprocessors: 132},
	} {
		list = append(list, p.row())
	}
	return list
}

func (p projectShape) row() Case {
	stem := "project_few"
	if p.tokens > 64 {
		stem = "project_many"
	}
	name := fmt.Sprintf("%s/%v/%dx%dx%d", stem, p.kind, p.tokens, p.out, p.in)
	if p.norm {
		name += "/norm"
	}
	if p.gather {
		name += "/gather"
	}
	if p.multiprocessors > 0 {
		name += fmt.Sprintf("/%d multiprocessors", p.multiprocessors)
	}
	if p.covered > 0 {
		name += fmt.Sprintf("/%d rows", p.covered)
	}
	return Case{Name: name, Stem: stem, Limit: 2e-6, Build: p.build}
}

func (p projectShape) build(s *Setup) Run {
	weights := s.normal(p.out, p.in, p.kind, 1)
	w := s.Projection(weights, p.kind)
	rows := p.tokens
	var gather []uint32
	op := shaders.Project{W: w, In: p.in, Out: p.out, Tokens: p.tokens}
	var parts compute.Span
	op.Parts, parts = s.Parts(p.multiprocessors)
	if p.gather {
		rows = p.tokens/2 + 3
		for range p.tokens {
			gather = append(gather, uint32(s.Random.IntN(rows)))
		}
		op.Gather = Place(s, gather)
	}
	var x reference.Matrix
	op.X, _, x = s.Scaled(rows, p.in, max(p.spread, 1))
	const eps = 1e-5
	var gamma []float64
	if p.norm {
		norm, values := s.Norm(x, p.kind, eps)
		op.Norm, gamma = &norm, values
	}
	var span compute.Span
	op.Y, span = s.Output(p.tokens, p.out)
	before := s.Product(&op)
	dispatch, tiling := op.Tiled(s.Kernels)
	if p.covered > 0 {
		dispatch.Groups = tiling.Groups(p.covered)
	}
	return Run{
		Before:     before,
		Dispatches: []compute.Dispatch{dispatch},
		Check: func() (float64, error) {
			var want reference.Matrix
			switch {
			case s.Kernels.Panels(p.kind):
				want = reference.Project(weights, asHalves(x, gamma, eps, p.kind), gather)
			case p.norm:
				want = reference.Project(weights, reference.Normed(x, gamma, eps), gather)
			default:
				want = reference.Project(weights, x, gather)
			}
			if p.covered > 0 {
				last := int64(p.tokens-1) * int64(4*op.Y.Stride)
				row, err := Read[byte](s, span.Slice(last, int64(4*op.Y.Stride)), 4*op.Y.Stride)
				if err != nil || !poisoned(row) {
					return math.Inf(1), err
				}
				want = want.First(p.covered)
			}
			if err := s.partsTaken(parts); err != nil {
				return math.Inf(1), err
			}
			if same, err := s.sameRows(span, op.Y.Stride, gather[:min(len(gather), want.Rows)]); err != nil || !same {
				return math.Inf(1), err
			}
			return s.CompareRows(span, op.Y.Stride, want)
		},
	}
}

// sameRows says whether rows of the same input, by its number, are the same to the bit, wherever they are.
func (s *Setup) sameRows(span compute.Span, stride int, inputs []uint32) (bool, error) {
	values, err := Read[uint32](s, span, len(inputs)*stride)
	first := map[uint32][]uint32{}
	for t, input := range inputs {
		row := values[t*stride : (t+1)*stride]
		if first[input] == nil {
			first[input] = row
		} else if !slices.Equal(row, first[input]) {
			return false, err
		}
	}
	return true, err
}

// Parts is where workgroups leave sums for each other, so that products are divided between so many multiprocessors; nothing for none.
func (s *Setup) Parts(multiprocessors int) (shaders.Parts, compute.Span) {
	if multiprocessors == 0 {
		return shaders.Parts{}, compute.Span{}
	}
	span := s.Alloc(int(shaders.PartsBytes(multiprocessors)))
	if s.err == nil {
		s.fail(s.device.Fill(span.Slice(0, 4*shaders.MostPlaces), 0))
	}
	return shaders.Parts{Address: address(span), Multiprocessors: multiprocessors}, span
}

// DeviceParts is Parts for the device itself.
func (s *Setup) DeviceParts() shaders.Parts {
	parts, _ := s.Parts(s.device.Info().Multiprocessors)
	return parts
}

// partsTaken fails where something was left that nobody took.
func (s *Setup) partsTaken(parts compute.Span) error {
	if parts.Buffer == nil {
		return nil
	}
	flags, err := Read[uint32](s, parts, shaders.MostPlaces)
	if err == nil && slices.Max(flags) > 0 {
		err = errors.New("a part was left that nobody took")
	}
	return err
}
