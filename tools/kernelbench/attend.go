package main

import (
	"fmt"
	"math"

	"lorikeet/compute"
	"lorikeet/model"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
	"lorikeet/shaders/reference"
)

const decodeBatch = 32

func attendRows(s *model.Shape, contexts []int) []row {
	var list []row
	for _, n := range contexts {
		list = append(list, row{
			name:  fmt.Sprintf("attend_decode/batch=%d/context=%d", decodeBatch, n),
			build: func(t *trial) { t.attendDecode(s, n) },
		})
	}
	for _, n := range contexts {
		list = append(list, row{
			name:  fmt.Sprintf("attend_prefill/tokens=%d", n),
			build: func(t *trial) { t.attendPrefill(s, n) },
		})
	}
	return list
}

// keysAndValues is the pages of some lanes of one length, scattered over pieces of the pool. Where all of them do not fit
// the pool, the last lanes share pages with the first: there are many times more than caches keep.
type keysAndValues struct {
	*model.Shape
	sets      []compute.Span
	pages     []uint32 // [lane][maxPages]
	maxPages  int
	pageBytes int
}

func (t *trial) keysAndValues(s *model.Shape, lanes, length int) *keysAndValues {
	k := &keysAndValues{Shape: s, maxPages: model.PagesFor(length), pageBytes: 2 * 2 * s.KVHeads * s.HeadDim * model.PageTokens}
	need := lanes * k.maxPages
	distinct := min(need, int(t.pool.span.Size)/k.pageBytes)
	k.sets = t.sized(distinct * k.pageBytes)
	order := t.Random.Perm(distinct)
	for i := range need {
		k.pages = append(k.pages, uint32(order[i%distinct]))
	}
	return k
}

// read returns the first keys and values of a head in the first set.
func (k *keysAndValues) read(p *pool, lane, head, length int) (keys, values [][]float64, err error) {
	tile := model.PageTokens * k.HeadDim
	for i := 0; i*model.PageTokens < length; i++ {
		at := int(k.pages[lane*k.maxPages+i])*k.pageBytes/2 + head*tile
		for half, list := range []*[][]float64{&keys, &values} {
			page, err := p.values(k.sets[0], at+half*k.KVHeads*tile, tile)
			if err != nil {
				return nil, nil, err
			}
			for t := range min(model.PageTokens, length-i*model.PageTokens) {
				*list = append(*list, page[t*k.HeadDim:(t+1)*k.HeadDim])
			}
		}
	}
	return keys, values, nil
}

func (k *keysAndValues) scale() float32 { return float32(1 / math.Sqrt(float64(k.HeadDim))) }

// queries makes scores with a standard deviation of one, keys being as small as the pool's values.
const queries = 1 / spread

func (t *trial) attendDecode(s *model.Shape, context int) {
	kv := t.keysAndValues(s, decodeBatch, context)
	qkv, qkvSpan := t.random(decodeBatch, s.QKV(), queries)
	out, span := t.Output(decodeBatch, s.Heads*s.HeadDim)
	length := model.SplitLength(context)
	if t.Kernels.Style() == shaders.Lanes {
		length = context // this style does not split keys
	}
	var rows []shaders.DecodeRow
	ranges := 0
	for row := range decodeBatch {
		d := shaders.DecodeRow{Row: row, Lane: row, Keys: context, Length: length, Base: ranges}
		rows = append(rows, d)
		ranges += d.Ranges()
	}
	workgroups := t.Kernels.DecodeWorkgroups(ranges, s.KVHeads)
	scratch := t.Alloc(int(shaders.AttendDecodeScratch(ranges, s.Heads, s.HeadDim)))
	if scratch.Buffer == nil {
		return
	}
	op := shaders.AttendDecode{
		QKV: qkv, Out: out, Items: cases.Place(t.Setup, shaders.DecodeItems(nil, rows, workgroups)), PageTable: cases.Place(t.Setup, kv.pages), MaxPages: kv.maxPages,
		PageBytes: int64(kv.pageBytes), Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim, Scratch: scratch.Address(),
		Counters: cases.Place(t.Setup, make([]uint32, decodeBatch*s.KVHeads)), Scale: kv.scale(), Type: shaders.BF16, Count: workgroups,
	}
	for _, pages := range kv.sets {
		op.Pool = pages.Address()
		t.sets = append(t.sets, []compute.Dispatch{op.Dispatch(t.Kernels)})
	}
	width := s.Heads * s.HeadDim
	t.bytes = int64(decodeBatch) * (4*int64(context*s.KVHeads*s.HeadDim) + 8*int64(width))
	t.flops = 4 * int64(decodeBatch*context*width)
	t.check = func() (float64, error) {
		return t.compareHeads(kv, qkvSpan, qkv.Stride, span, func(i int) (row, lane, keys int) { return i * 7 % decodeBatch, i * 7 % decodeBatch, context })
	}
}

func (t *trial) attendPrefill(s *model.Shape, tokens int) {
	kv := t.keysAndValues(s, 1, tokens)
	qkv, qkvSpan := t.random(tokens, s.QKV(), queries)
	out, span := t.Output(tokens, s.Heads*s.HeadDim)
	var items []shaders.PrefillItem
	tile := t.Kernels.QueryTile(s.Heads, s.KVHeads, s.HeadDim, shaders.BF16)
	for i := 0; i < tokens; i += tile {
		items = append(items, shaders.PrefillItem{Row: uint32(i), Rows: uint32(min(tile, tokens-i)), Start: uint32(i)})
	}
	op := shaders.AttendPrefill{
		QKV: qkv, Out: out, Items: cases.Place(t.Setup, items), PageTable: cases.Place(t.Setup, kv.pages), MaxPages: kv.maxPages,
		PageBytes: int64(kv.pageBytes), Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim,
		Scale: kv.scale(), Type: shaders.BF16, Count: len(items),
	}
	for _, pages := range kv.sets {
		op.Pool = pages.Address()
		t.sets = append(t.sets, []compute.Dispatch{op.Dispatch(t.Kernels)})
	}
	width := s.Heads * s.HeadDim
	t.bytes = int64(tokens) * (4*int64(s.KVHeads*s.HeadDim) + 8*int64(width))
	t.flops = 2 * int64(tokens) * int64(tokens+1) * int64(width)
	if t.Kernels.Style() == shaders.Matrices {
		t.limit = 5e-3 // queries and probabilities may be rounded to bf16
	}
	t.check = func() (float64, error) {
		return t.compareHeads(kv, qkvSpan, qkv.Stride, span, func(i int) (row, lane, keys int) {
			row = tokens - 1 - i*(tokens-1)/7
			return row, 0, row + 1
		})
	}
}

// compareHeads compares eight heads of rows that which chooses.
func (t *trial) compareHeads(kv *keysAndValues, qkv compute.Span, stride int, out compute.Span, which func(i int) (row, lane, keys int)) (float64, error) {
	var results []float32
	var wanted []float64
	for i := range 8 {
		row, lane, length := which(i)
		head := i * kv.Heads / 8
		keys, values, err := kv.read(t.pool, lane, head*kv.KVHeads/kv.Heads, length)
		if err != nil {
			return 0, err
		}
		q, err := t.floats(qkv, row*stride+head*kv.HeadDim, kv.HeadDim)
		if err != nil {
			return 0, err
		}
		got, err := t.floats(out, row*kv.Heads*kv.HeadDim+head*kv.HeadDim, kv.HeadDim)
		if err != nil {
			return 0, err
		}
		for _, v := range got {
			results = append(results, float32(v))
		}
		wanted = append(wanted, reference.Attend(q, keys, values, float64(kv.scale()))...)
	}
	return cases.RelativeError(results, wanted), nil
}
