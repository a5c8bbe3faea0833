package parity

import (
	"math"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
	"lorikeet/shaders/reference"
)

const eps = 1e-5 // operators.py has the same

// rmsnorm runs the chain that norms a row: embed leaves the sums of squares, and a projection reads through the norm.
// The projection is the identity, so that the norm itself comes out.
func (t *trial) rmsnorm() {
	x := t.input("x", t.Rows, t.Width, 1, 0)
	gamma := t.input("gamma", 1, t.Width, 0.2, 1)
	identity := reference.NewMatrix(t.Width, t.Width)
	for i := range t.Width {
		identity.Row(i)[i] = 1
	}
	tokens := make([]uint32, t.Rows)
	for i := range tokens {
		tokens[i] = uint32(i)
	}
	parts := (t.Width + shaders.SquaresUnit - 1) / shaders.SquaresUnit
	squares, _ := t.Output(t.Rows*parts, 1)
	rows, _ := t.Output(t.Rows, t.Width)
	y, span := t.Output(t.Rows, t.Width)
	project := shaders.Project{
		W: t.Projection(identity, t.kind), X: rows, Y: y, In: t.Width, Out: t.Width, Tokens: t.Rows,
		Norm: &shaders.Norm{Weight: t.weights(gamma).Address, Squares: squares.Address, Parts: parts, Width: t.Width, Eps: eps},
	}
	t.dispatches = []compute.Dispatch{shaders.Embed{
		Table: t.weights(x), Tokens: cases.Place(t.Setup, tokens), X: rows, Squares: squares.Address, Width: t.Width, Count: t.Rows,
	}.Dispatch(t.Kernels)}
	t.dispatches = append(t.dispatches, t.Product(&project)...)
	t.dispatches = append(t.dispatches, project.Dispatch(t.Kernels))
	t.compare = t.compareRows(span, y.Stride, t.Rows, t.Width)
}

func (t *trial) project() {
	w := t.input("w", t.Out, t.In, 1/math.Sqrt(float64(t.In)), 0)
	x := t.input("x", t.Tokens, t.In, 1, 0)
	y, span := t.Output(t.Tokens, t.Out)
	project := shaders.Project{W: t.Projection(w, t.kind), X: t.rows(x), Y: y, In: t.In, Out: t.Out, Tokens: t.Tokens}
	t.dispatches = append(t.Product(&project), project.Dispatch(t.Kernels))
	t.compare = t.compareRows(span, y.Stride, t.Tokens, t.Out)
}

func (t *trial) siluMul() {
	gate, up := t.input("gate", t.Rows, t.Width, 3, 0), t.input("up", t.Rows, t.Width, 3, 0)
	gap := reference.NewMatrix(t.Rows, cases.Pad8(t.Width)-t.Width)
	tiles, _, count := t.tiles([]lora.Run{{Slot: -1, Rows: t.Rows}})
	y, span := t.Output(t.Rows, t.Width)
	t.dispatches = []compute.Dispatch{shaders.SiluMul{
		GateUp: t.rows(beside(gate, gap, up)), UpOffset: cases.Pad8(t.Width), Out: y, Inner: t.Width,
		Tiles: tiles, Type: t.kind, Count: t.Rows, TileCount: count,
	}.Dispatch(t.Kernels)}
	t.compare = t.compareRows(span, y.Stride, t.Rows, t.Width)
}
