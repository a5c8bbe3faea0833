package main

import (
	"fmt"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/model"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
)

// loraRows are shrink and expand of one site as wide as the model.
func loraRows(s *model.Shape) []row {
	var list []row
	for _, tokens := range []int{1, 8, 32, 128} {
		for _, rank := range []int{8, 16, 64, 256} {
			for _, adapters := range []int{1, 8, 32} {
				if adapters <= tokens {
					list = append(list, row{
						name:  fmt.Sprintf("lora/tokens=%d/rank=%d/adapters=%d", tokens, rank, adapters),
						build: func(t *trial) { t.lora(s.Hidden, tokens, rank, adapters) },
					})
				}
			}
		}
	}
	return list
}

// lora is a shrink and, after it, an expand onto the residual stream.
func (t *trial) lora(width, tokens, rank, adapters int) {
	x, xSpan := t.random(tokens, width, 1)
	base, baseSpan := t.random(tokens, width, 1)
	stream, span := t.random(tokens, width, 1)
	hidden, _ := t.Output(tokens, rank)
	squares, _ := t.Output(tokens, (width+shaders.SquaresBlock-1)/shaders.SquaresBlock)
	list := runs(tokens, adapters)
	tiles, adapted := lora.Tiles(nil, list)
	at := cases.Place(t.Setup, tiles)
	half, before := t.Halved(x, tokens, width, shaders.BF16, nil, 0)
	t.fills = append(t.fills, before...)
	matrix := rank * cases.Pad8(width)
	weights := t.sized(2 * 2 * matrix * adapters)
	for _, w := range weights {
		var table []shaders.AdapterSite
		for i := range adapters {
			a := w.Address() + uint64(4*matrix*i)
			table = append(table, shaders.AdapterSite{A: a, B: a + uint64(2*matrix), Rank: uint32(rank), Scale: 2})
		}
		sites := cases.Place(t.Setup, table)
		t.sets = append(t.sets, []compute.Dispatch{
			shaders.Shrink{
				Tiles: at, Table: sites, SitesPerSlot: 1, Sites: 1, X: x, Half: half, In: width, Hidden: hidden, MaxRank: rank,
				Type: shaders.BF16, Count: tokens, TileCount: adapted,
			}.Dispatch(t.Kernels),
			shaders.Residual{
				X: stream, Y: base, Squares: squares.Address, Width: width, Tiles: at,
				Lora: &shaders.SiteDelta{Table: sites, SitesPerSlot: 1, Hidden: hidden, MaxRank: rank},
				Type: shaders.BF16, Count: tokens, TileCount: len(tiles),
			}.Dispatch(t.Kernels),
		})
	}
	t.bytes = int64(4*matrix*adapters) + int64(4*tokens*4*width)
	t.flops = int64(4 * tokens * matrix)
	t.check = func() (float64, error) { return t.checkLora(weights, list, xSpan, baseSpan, span, width, rank) }
}

// checkLora compares some columns of some rows. The stream was filled again before, so that what was there is known.
func (t *trial) checkLora(weights []compute.Span, list []lora.Run, x, base, stream compute.Span, width, rank int) (float64, error) {
	stride, slots := cases.Pad8(width), rowSlots(list)
	tokens := len(slots)
	after, err := t.floats(stream, 0, tokens*stride)
	if err != nil {
		return 0, err
	}
	if err := t.refill(); err != nil {
		return 0, err
	}
	hidden := map[int][]float64{} // by row
	return t.compareSome(tokens, width, func(row, column int) (got, want float64, err error) {
		at := 2 * rank * stride * slots[row]
		b, err := t.pool.values(weights[0], at+rank*stride, rank*stride)
		if err != nil {
			return 0, 0, err
		}
		if hidden[row] == nil {
			a, err := t.pool.values(weights[0], at, rank*stride)
			if err != nil {
				return 0, 0, err
			}
			input, err := t.floats(x, row*stride, width)
			if err != nil {
				return 0, 0, err
			}
			if t.Kernels.ShrinksHalves(shaders.BF16) {
				for i, v := range input {
					input[i] = float64(shaders.BF16.Round(float32(v)))
				}
			}
			for r := range rank {
				hidden[row] = append(hidden[row], dot(a[r*stride:r*stride+width], input))
			}
		}
		for _, span := range []compute.Span{base, stream} {
			v, err := t.floats(span, row*stride+column, 1)
			if err != nil {
				return 0, 0, err
			}
			want += v[0]
		}
		for r, h := range hidden[row] {
			want += 2 * b[r*stride+column] * h
		}
		return after[row*stride+column], want, nil
	})
}
