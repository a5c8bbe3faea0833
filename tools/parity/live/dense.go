package main

import (
	"fmt"
	"slices"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
)

func (t *trial) project() {
	y, span := t.Output(t.Tokens, t.Out)
	project := shaders.Project{
		W: t.ProjectionOf(t.input("w", t.Out, t.In), t.In, shaders.BF16), X: t.activations("x", t.Tokens, t.In), Y: y,
		In: t.In, Out: t.Out, Tokens: t.Tokens, Parts: t.DeviceParts(),
	}
	t.dispatches = append(t.Product(&project), project.Dispatch(t.Kernels))
	t.compareRows(span, t.Tokens, t.Out)
}

// rmsnorm runs the chain that norms a row: embed leaves the sums of squares, and a projection reads through the norm.
// The projection is the identity, so that the norm itself comes out.
func (t *trial) rmsnorm() {
	tokens, identity := make([]uint32, t.Tokens), make([]float32, t.In*t.In)
	for i := range tokens {
		tokens[i] = uint32(i)
	}
	for i := range t.In {
		identity[i*t.In+i] = 1
	}
	parts := (t.In + shaders.SquaresUnit - 1) / shaders.SquaresUnit
	squares, _ := t.Output(t.Tokens*parts, 1)
	rows, _ := t.Output(t.Tokens, t.In)
	y, span := t.Output(t.Tokens, t.In)
	project := shaders.Project{
		W: t.ProjectionOf(shaders.BF16.Encode(identity), t.In, shaders.BF16), X: rows, Y: y, In: t.In, Out: t.In, Tokens: t.Tokens,
		Norm: &shaders.Norm{Weight: t.weights("gamma", 1, t.In).Address, Squares: squares.Address, Parts: parts, Width: t.In, Eps: eps},
	}
	t.dispatches = []compute.Dispatch{shaders.Embed{
		Table: t.weights("x", t.Tokens, t.In), Tokens: cases.Place(t.Setup, tokens), X: rows, Squares: squares.Address,
		Width: t.In, Count: t.Tokens,
	}.Dispatch(t.Kernels)}
	t.dispatches = append(t.dispatches, t.Product(&project)...)
	t.dispatches = append(t.dispatches, project.Dispatch(t.Kernels))
	t.compareRows(span, t.Tokens, t.In)
}

func (t *trial) siluMul() {
	gate, up := shaders.BF16.Decode(t.input("gate", t.Tokens, t.In)), shaders.BF16.Decode(t.input("up", t.Tokens, t.In))
	var both []float32
	for row := range t.Tokens {
		both = append(append(both, gate[row*t.In:(row+1)*t.In]...), up[row*t.In:(row+1)*t.In]...)
	}
	tiles, _, count := t.tiles(lora.Run{Slot: -1, Rows: t.Tokens})
	y, span := t.Output(t.Tokens, t.In)
	t.dispatches = []compute.Dispatch{shaders.SiluMul{
		GateUp: shaders.Rows{Address: address(t.Bytes(shaders.F32.Encode(both))), Stride: 2 * t.In}, UpOffset: t.In, Out: y, Inner: t.In,
		Tiles: tiles, Type: shaders.BF16, Count: t.Tokens, TileCount: count,
	}.Dispatch(t.Kernels)}
	t.compareRows(span, t.Tokens, t.In)
}

// lora runs shrink over the batch's segments, then the expand of the residual kernel, both onto zeros.
func (t *trial) lora() {
	var table []shaders.AdapterSite
	for i, rank := range t.Ranks {
		b := transposed(t.input(fmt.Sprint("b", i), t.Out, rank), t.Out, rank)
		table = append(table, shaders.AdapterSite{
			A: t.weights(fmt.Sprint("a", i), rank, t.In).Address, B: address(t.Bytes(b)), Rank: uint32(rank), Scale: float32(t.Scales[i]),
		})
	}
	var runs []lora.Run
	for _, s := range t.Segments {
		runs = append(runs, lora.Run{Slot: s[0], Rows: s[1]})
	}
	tiles, adapted, all := t.tiles(runs...)
	at, maxRank := cases.Place(t.Setup, table), slices.Max(t.Ranks)
	hidden, _ := t.Output(t.Tokens, maxRank)
	base, _ := t.zeros(t.Tokens, t.Out)
	stream, span := t.zeros(t.Tokens, t.Out)
	squares, _ := t.Output(t.Tokens*((t.Out+shaders.SquaresBlock-1)/shaders.SquaresBlock), 1)
	x := t.activations("x", t.Tokens, t.In)
	half, before := t.Halved(x, t.Tokens, t.In, shaders.BF16, nil, 0)
	t.dispatches = append(before,
		shaders.Shrink{
			Tiles: tiles, Table: at, SitesPerSlot: 1, Sites: 1, X: x, Half: half, In: t.In, Hidden: hidden,
			MaxRank: maxRank, Type: shaders.BF16, Count: t.Tokens, TileCount: adapted,
		}.Dispatch(t.Kernels),
		shaders.Residual{
			X: stream, Y: base, Squares: squares.Address, Width: t.Out, Tiles: tiles,
			Lora: &shaders.SiteDelta{Table: at, SitesPerSlot: 1, Hidden: hidden, MaxRank: maxRank},
			Type: shaders.BF16, Count: t.Tokens, TileCount: all,
		}.Dispatch(t.Kernels))
	t.compareRows(span, t.Tokens, t.Out)
}

// transposed turns a matrix of two-byte elements.
func transposed(data []byte, rows, columns int) []byte {
	out := make([]byte, len(data))
	for r := range rows {
		for c := range columns {
			copy(out[2*(c*rows+r):][:2], data[2*(r*columns+c):])
		}
	}
	return out
}
