package main

import (
	"fmt"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/model"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
)

// expandRows are the expands of adapters of the output head.
func expandRows(s *model.Shape) []row {
	var list []row
	for _, rank := range []int{8, 16, 64} {
		for _, size := range [][2]int{{1, 1}, {8, 1}, {8, 8}, {32, 1}, {32, 8}, {32, 32}} {
			tokens, adapters := size[0], size[1]
			list = append(list, row{
				name:  fmt.Sprintf("expand/tokens=%d/rank=%d/adapters=%d", tokens, rank, adapters),
				build: func(t *trial) { t.expand(s.Vocab, tokens, rank, adapters) },
			})
		}
	}
	return list
}

// expand adds products onto logits.
func (t *trial) expand(width, tokens, rank, adapters int) {
	y, span := t.random(tokens, width, 1)
	hidden, hiddenSpan := t.random(tokens, rank, 1)
	list := runs(tokens, adapters)
	tiles, adapted := lora.Tiles(nil, list)
	at := cases.Place(t.Setup, tiles)
	matrix := rank * cases.Pad8(width)
	weights := t.sized(2 * matrix * adapters)
	for _, w := range weights {
		var table []shaders.AdapterSite
		for i := range adapters {
			table = append(table, shaders.AdapterSite{B: w.Address() + uint64(2*matrix*i), Rank: uint32(rank), Scale: 2})
		}
		t.sets = append(t.sets, []compute.Dispatch{shaders.Expand{
			Y: y, Width: width, Tiles: at,
			Lora: shaders.SiteDelta{Table: cases.Place(t.Setup, table), SitesPerSlot: 1, Hidden: hidden, MaxRank: rank},
			Type: shaders.BF16, Count: tokens, TileCount: adapted,
		}.Dispatch(t.Kernels)})
	}
	t.bytes = int64(2*matrix*adapters) + int64(8*tokens*width)
	t.flops = int64(2 * tokens * matrix)
	t.check = func() (float64, error) {
		after, err := t.floats(span, 0, tokens*y.Stride)
		if err != nil {
			return 0, err
		}
		if err := t.refill(); err != nil {
			return 0, err
		}
		slot := rowSlots(list)
		return t.compareSome(tokens, width, func(row, column int) (got, want float64, err error) {
			before, err := t.floats(span, row*y.Stride+column, 1)
			if err != nil {
				return 0, 0, err
			}
			products, err := t.floats(hiddenSpan, row*hidden.Stride, rank)
			if err != nil {
				return 0, 0, err
			}
			b, err := t.pool.values(weights[0], slot[row]*matrix, matrix)
			if err != nil {
				return 0, 0, err
			}
			want = before[0]
			for r, h := range products {
				want += 2 * b[r*cases.Pad8(width)+column] * h
			}
			return after[row*y.Stride+column], want, nil
		})
	}
}

// rowSlots is the slot of each row.
func rowSlots(list []lora.Run) []int {
	var slots []int
	for _, r := range list {
		for range r.Rows {
			slots = append(slots, r.Slot)
		}
	}
	return slots
}
