package main

import (
	"fmt"

	"lorikeet/compute"
	"lorikeet/model"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
)

// product is one of the projections of a layer, or of the head.
type product struct {
	label   string
	out, in int
}

func products(s *model.Shape) []product {
	return []product{
		{"qkv", s.QKV(), s.Hidden}, {"o", s.Hidden, s.Heads * s.HeadDim}, {"gate_up", 2 * s.Inner, s.Hidden},
		{"down", s.Hidden, s.Inner}, {"lm_head", s.Vocab, s.Hidden},
	}
}

// mostHeadTokens is the most rows of logits that a step has.
const mostHeadTokens = 128

func projectRows(s *model.Shape, tokens []int) []row {
	var list []row
	for _, p := range products(s) {
		for _, n := range tokens {
			if p.label != "lm_head" || n <= mostHeadTokens {
				list = append(list, p.row(n))
			}
		}
	}
	return list
}

func (p product) row(tokens int) row {
	op := p.op(tokens)
	return row{
		name: fmt.Sprintf("project/%s/tokens=%d", p.label, tokens),
		warm: func(k *shaders.Kernels) {
			op := op
			if k.Panels(op.W.Type) { // placed or not, the kernel is the same
				op.W.Panels, op.Half = true, shaders.Halves{Address: 1, Width: op.In}
			}
			op.Dispatch(k)
		},
		build: func(t *trial) {
			t.project(op, func(op shaders.Project) compute.Dispatch { return op.Dispatch(t.Kernels) })
		},
	}
}

// op is the product of so many rows, its operands not yet placed.
func (p product) op(tokens int) shaders.Project {
	return shaders.Project{
		In: p.in, Out: p.out, Tokens: tokens, W: shaders.Matrix{Stride: cases.Pad8(p.in), Type: shaders.BF16},
	}
}

// project is a product whose kernel is chosen by dispatch.
func (t *trial) project(op shaders.Project, dispatch func(shaders.Project) compute.Dispatch) {
	x, xSpan := t.random(op.Tokens, op.In, 1)
	y, span := t.Output(op.Tokens, op.Out)
	op.X, op.Y = x, y
	op.Parts = t.DeviceParts()
	size, row := 2*op.Out*op.W.Stride, t.pool.row
	panels := t.Kernels.Panels(op.W.Type)
	if panels {
		op.W = shaders.Matrix{Type: op.W.Type, Panels: true}
		t.fills = append(t.fills, t.Product(&op)...)
		size, row = int(shaders.PanelsBytes(op.Out, op.In)), t.pool.panelRow
	}
	weights := t.sized(size)
	for _, w := range weights {
		op.W.Address = w.Address()
		t.sets = append(t.sets, []compute.Dispatch{dispatch(op)})
	}
	if len(t.sets) == 0 {
		return
	}
	t.bytes, t.flops = t.sets[0][0].Bytes, t.sets[0][0].Flops
	t.limit = 5e-6
	if panels {
		t.limit = 5e-5 // sums of up to 14 336 products in the matrices' own order
	}
	t.check = func() (float64, error) {
		return t.compareSome(op.Tokens, op.Out, func(line, column int) (got, want float64, err error) {
			a, err := row(weights[0], column, op.In)
			if err != nil {
				return 0, 0, err
			}
			b, err := t.floats(xSpan, line*x.Stride, op.In)
			if err != nil {
				return 0, 0, err
			}
			if panels { // whose activations are halves
				for i, v := range b {
					b[i] = float64(op.W.Type.Round(float32(v)))
				}
			}
			result, err := t.floats(span, line*y.Stride+column, 1)
			if err != nil {
				return 0, 0, err
			}
			return result[0], dot(a, b), nil
		})
	}
}

func dot(a, b []float64) float64 {
	var sum float64
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// compareSome gives the relative error of some results out of rows and columns: the corners and some that are drawn.
func (t *trial) compareSome(rows, columns int, at func(row, column int) (got, want float64, err error)) (float64, error) {
	places := [][2]int{{0, 0}, {0, columns - 1}, {rows - 1, 0}, {rows - 1, columns - 1}}
	for range 28 {
		places = append(places, [2]int{t.Random.IntN(rows), t.Random.IntN(columns)})
	}
	var results []float32
	var wanted []float64
	for _, place := range places {
		got, want, err := at(place[0], place[1])
		if err != nil {
			return 0, err
		}
		results, wanted = append(results, float32(got)), append(wanted, want)
	}
	return cases.RelativeError(results, wanted), nil
}
