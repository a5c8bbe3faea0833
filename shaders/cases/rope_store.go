package cases

import (
	"encoding/binary"
	"fmt"
	"math"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

// ropeStoreLimits are half a unit in the last place of the stored type, as a share of the value.
var ropeStoreLimits = map[shaders.Type]float64{shaders.F32: 1e-6, shaders.F16: 3e-4, shaders.BF16: 2.5e-3}

func ropeStoreCases() []Case {
	var out []Case
	for _, c := range []struct {
		t                       shaders.Type
		heads, kvHeads, headDim int
		lora                    bool
		describe                string
		batch                   tiled
	}{
		{shaders.F32, 4, 1, 80, true, "mixed", tile(mixedRuns)},
		{shaders.F16, 2, 2, 64, true, "mixed", tile(mixedRuns)},
		{shaders.BF16, 8, 1, 128, true, "mixed", tile(mixedRuns)},
		{shaders.F32, 2, 1, 256, true, "tall", tall()},
		{shaders.F16, 3, 1, 80, true, "tall", tall()},
		{shaders.BF16, 4, 2, 128, true, "tall", tall()},
		{shaders.BF16, 4, 2, 24, true, "tall", tall()},
		{shaders.F16, 8, 4, 64, true, "tall", tall()},
		{shaders.BF16, 8, 8, 24, true, "mixed", tile(mixedRuns)},
		{shaders.BF16, 4, 2, 256, true, "one row", tile([]run{{5, 1}})},
		{shaders.BF16, 4, 2, 24, false, "no adapters", baseTiles(13)},
	} {
		out = append(out, Case{
			Name: fmt.Sprintf("rope_store/%v/%d:%d heads of %d, %s", c.t, c.heads, c.kvHeads, c.headDim, c.describe),
			Stem: "rope_store", Limit: ropeStoreLimits[c.t],
			Build: func(s *Setup) Run {
				shape := headShape{c.heads, c.kvHeads, c.headDim}
				return buildRopeStore(s, c.t, shape, c.lora, c.batch)
			},
		})
	}
	return out
}

type headShape struct{ heads, kvHeads, headDim int }

func (h headShape) columns() int { return (h.heads + 2*h.kvHeads) * h.headDim }

// sites is the outputs of q, k and v.
func (h headShape) sites() []int {
	return []int{h.heads * h.headDim, h.kvHeads * h.headDim, h.kvHeads * h.headDim}
}

func buildRopeStore(s *Setup, t shaders.Type, h headShape, lora bool, batch tiled) Run {
	qkv, span, values := s.Activations(len(batch.slots), h.columns())
	d := s.noDeltas(len(batch.slots))
	if lora {
		d = s.deltas(batch, 1, h.sites(), t, 1)
	}
	op, stored, turned := s.ropeStore(batch, h, values, d, t)
	op.QKV = qkv
	return Run{Dispatches: []compute.Dispatch{op.Dispatch(s.Kernels)}, Check: func() (float64, error) {
		// Only the query part changes in place, and not where no tile covers the row.
		want := values.Clone()
		for i, slot := range batch.slots {
			if slot != skipped {
				copy(want.Row(i), turned.Row(i)[:h.heads*h.headDim])
			}
		}
		inPlace, err := s.worst(output{span, qkv.Stride, want})
		if err != nil {
			return 0, err
		}
		pages, err := stored()
		return max(inPlace, pages), err
	}}
}

// ropeStore finishes the values of q, k and v, with what d adds to them. The caller sets where they lie. It also returns
// the check of the pages, and what the finished values should be.
func (s *Setup) ropeStore(batch tiled, h headShape, values reference.Matrix, d deltas, t shaders.Type) (shaders.RopeStore, func() (float64, error), reference.Matrix) {
	const lanes, maxPages = 3, 9
	rows := len(batch.slots)
	positions, laneOf := make([]int, rows), make([]int, rows)
	for i := range rows {
		laneOf[i], positions[i] = i%lanes, 13+i/lanes // crosses from one page to the next
	}
	cosine, sine, rope := s.rotations(maxPages*shaders.PageTokens, h.headDim)
	pool := s.pages(t, h, lanes*maxPages)
	turned := reference.RopeStore(values, h.heads, h.kvHeads, h.headDim, positions, cosine, sine,
		d.set.ofRows(batch.slots, 3), d.hidden, d.set.maxRank)
	op := shaders.RopeStore{
		Positions: Place(s, words(positions)), Lanes: Place(s, words(laneOf)), Tiles: Place(s, batch.tiles),
		PageTable: Place(s, words(pool.table)), MaxPages: maxPages, Pool: address(pool.span), PageBytes: pool.pageBytes,
		LayerOffset: pool.layerOffset, Heads: h.heads, KVHeads: h.kvHeads, HeadDim: h.headDim, Rope: rope, Lora: d.site,
		Type: t, Count: rows, TileCount: len(batch.tiles),
	}
	return op, func() (float64, error) {
		data, err := Read[byte](s, pool.span, int(pool.span.Size))
		if err != nil {
			return 0, err
		}
		want := reference.NewMatrix(rows, 2*h.kvHeads*h.headDim)
		got := make([]float32, 0, len(want.Values))
		for i, slot := range batch.slots {
			if slot != skipped {
				copy(want.Row(i), turned.Row(i)[h.heads*h.headDim:])
			}
			page := pool.table[laneOf[i]*maxPages+positions[i]/shaders.PageTokens]
			got = append(got, pool.take(data, page, positions[i]%shaders.PageTokens, slot == skipped)...)
		}
		if !poisoned(data) {
			return math.Inf(1), nil
		}
		return RelativeError(got, want.Values), nil
	}, turned
}

// rotations places the RoPE table [position][headDim] of random angles and returns its cosines and sines.
func (s *Setup) rotations(positions, headDim int) (cosine, sine reference.Matrix, rope uint64) {
	half := headDim / 2
	cosine, sine = reference.NewMatrix(positions, half), reference.NewMatrix(positions, half)
	var table []float32
	for p := range positions {
		for i := range half {
			at, high := math.Sincos(s.Random.Float64() * 2 * math.Pi)
			sine.Row(p)[i], cosine.Row(p)[i] = float64(float32(at)), float64(float32(high))
		}
		for _, v := range append(append([]float64(nil), cosine.Row(p)...), sine.Row(p)...) {
			table = append(table, float32(v))
		}
	}
	return cosine, sine, Place(s, table)
}

// pagePool is poisoned KV pages in random order, with a layer in the middle of each page.
type pagePool struct {
	span        compute.Span
	table       []int
	pageBytes   int64
	layerOffset int64
	t           shaders.Type
	shape       headShape
}

func (s *Setup) pages(t shaders.Type, h headShape, count int) pagePool {
	layer := int64(2 * h.kvHeads * shaders.PageTokens * h.headDim * t.Size())
	p := pagePool{table: s.Random.Perm(count), pageBytes: 3*layer + 256, layerOffset: layer, t: t, shape: h}
	p.span = s.Alloc(count * int(p.pageBytes))
	return p
}

// take returns the keys and values of one token, [2*kvHeads][headDim], and poisons their bytes in data again. Where
// nothing may have been written it returns zeros and leaves the bytes for the caller's check.
func (p pagePool) take(data []byte, page, token int, empty bool) []float32 {
	var out []float32
	bytes := p.shape.headDim * p.t.Size()
	for head := range 2 * p.shape.kvHeads {
		if empty {
			out = append(out, make([]float32, p.shape.headDim)...)
			continue
		}
		at := int(int64(page)*p.pageBytes+p.layerOffset) + (head*shaders.PageTokens+token)*bytes
		row := data[at : at+bytes]
		out = append(out, p.t.Decode(row)...)
		for ; len(row) > 0; row = row[4:] {
			binary.LittleEndian.PutUint32(row, poison)
		}
	}
	return out
}

func words(values []int) []uint32 {
	out := make([]uint32, len(values))
	for i, v := range values {
		out[i] = uint32(v)
	}
	return out
}
