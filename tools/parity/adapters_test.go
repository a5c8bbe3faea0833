package parity

import (
	"fmt"
	"math"
	"slices"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
	"lorikeet/shaders/reference"
)

// lora runs shrink over the batch's segments, then the expand of the residual kernel onto a stream of zeros.
func (t *trial) lora() {
	x, base := t.input("x", t.Tokens, t.In, 1, 0), t.input("base", t.Tokens, t.Out, 1, 0)
	var table []shaders.AdapterSite
	for i, rank := range t.Ranks {
		a := t.input(fmt.Sprint("a", i), rank, t.In, 1/math.Sqrt(float64(t.In)), 0)
		b := t.input(fmt.Sprint("b", i), t.Out, rank, 1/math.Sqrt(float64(rank)), 0)
		table = append(table, shaders.AdapterSite{
			A: t.weights(a).Address, B: t.weights(transposed(b)).Address, Rank: uint32(rank), Scale: float32(t.Scales[i]),
		})
	}
	var runs []lora.Run
	for _, s := range t.Segments {
		runs = append(runs, lora.Run{Slot: s[0], Rows: s[1]})
	}
	tiles, adapted, all := t.tiles(runs)
	at, maxRank := cases.Place(t.Setup, table), slices.Max(t.Ranks)
	hidden, hiddenSpan := t.Output(t.Tokens, maxRank)
	stream := reference.NewMatrix(t.Tokens, t.Out)
	y := shaders.Rows{Stride: cases.Pad8(t.Out)}
	span := t.Bytes(shaders.F32.Encode(padded(stream)))
	if span.Buffer != nil {
		y.Address = span.Address()
	}
	squares, _ := t.Output(t.Tokens, 1)
	rows := t.rows(x)
	half, before := t.Halved(rows, t.Tokens, t.In, t.kind, nil, 0)
	t.dispatches = append(before,
		shaders.Shrink{
			Tiles: tiles, Table: at, SitesPerSlot: 1, Sites: 1, X: rows, Half: half, In: t.In, Hidden: hidden, MaxRank: maxRank,
			Type: t.kind, Count: t.Tokens, TileCount: adapted,
		}.Dispatch(t.Kernels),
		shaders.Residual{
			X: y, Y: t.rows(base), Squares: squares.Address, Width: t.Out, Tiles: tiles,
			Lora: &shaders.SiteDelta{Table: at, SitesPerSlot: 1, Hidden: hidden, MaxRank: maxRank},
			Type: t.kind, Count: t.Tokens, TileCount: all,
		}.Dispatch(t.Kernels))
	compareSums := t.compareRows(span, y.Stride, t.Tokens, t.Out)
	t.compare = func(label string) (float64, error) {
		sums, err := compareSums(label)
		if err != nil {
			return 0, err
		}
		shrunk, err := t.compareHidden(label, hiddenSpan, hidden.Stride)
		return max(sums, shrunk), err
	}
}

// compareHidden compares A·x of the adapted rows, rank by rank.
func (t *trial) compareHidden(label string, span compute.Span, stride int) (float64, error) {
	all, err := cases.Read[float32](t.Setup, span, t.Tokens*stride)
	if err != nil {
		return 0, err
	}
	var got []float32
	row := 0
	for _, s := range t.Segments {
		for range s[1] {
			if s[0] >= 0 {
				got = append(got, all[row*stride:row*stride+t.Ranks[s[0]]]...)
			}
			row++
		}
	}
	want, err := t.want("hidden", label, 1, len(got))
	return cases.RelativeError(got, want.Values), err
}
