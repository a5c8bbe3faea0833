package main

import (
	"fmt"
	"math"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
)

// How the keys of a decoding row are cut where a kernel splits them: into ranges of splitKeys, rangesEach of which one workgroup reads.
const (
	splitKeys  = 256
	rangesEach = 2
)

// pool is the KV pages of some lanes, of one layer: page maxPages*lane + i holds a lane's i-th 16 tokens.
type pool struct {
	t         *trial
	maxPages  int
	pageBytes int
	image     []byte
	span      compute.Span
}

// newPool has pages for so many positions of each lane. What nobody writes is NaN.
func (t *trial) newPool(lanes, positions int) *pool {
	p := &pool{t: t, maxPages: (positions + shaders.PageTokens - 1) / shaders.PageTokens}
	p.pageBytes = 2 * t.KVHeads * shaders.PageTokens * t.HeadDim * 2
	p.image = make([]byte, lanes*p.maxPages*p.pageBytes)
	for i := range p.image {
		p.image[i] = 0xff
	}
	return p
}

// table is the page table of the lanes.
func (p *pool) table() uint64 {
	pages := make([]uint32, len(p.image)/p.pageBytes)
	for i := range pages {
		pages[i] = uint32(i)
	}
	return cases.Place(p.t.Setup, pages)
}

// keys is where a head's keys of a position lie in an image; values lie half a page later.
func (p *pool) keys(lane, position, head int) int {
	page := lane*p.maxPages + position/shaders.PageTokens
	return page*p.pageBytes + (head*shaders.PageTokens+position%shaders.PageTokens)*p.t.HeadDim*2
}

// fill enters the keys and values [position][head][column] of a lane.
func (p *pool) fill(lane, positions int, keys, values []byte) {
	width := p.t.HeadDim * 2
	for position := range positions {
		for head := range p.t.KVHeads {
			at, from := p.keys(lane, position, head), (position*p.t.KVHeads+head)*width
			copy(p.image[at:], keys[from:from+width])
			copy(p.image[at+p.pageBytes/2:], values[from:from+width])
		}
	}
}

func (p *pool) place() uint64 {
	p.span = p.t.Bytes(p.image)
	return address(p.span)
}

// rope turns queries in place and keys on their way to the pages.
func (t *trial) rope() {
	rows, q, kv := len(t.Positions), t.Heads*t.HeadDim, t.KVHeads*t.HeadDim
	p := t.newPool(1, t.Positions[rows-1]+1)
	queries, keys := shaders.BF16.Decode(t.input("q", rows, q)), shaders.BF16.Decode(t.input("k", rows, kv))
	var joined []float32
	positions := make([]uint32, rows)
	for row, at := range t.Positions {
		k := keys[row*kv : (row+1)*kv]
		joined = append(append(append(joined, queries[row*q:(row+1)*q]...), k...), k...)
		positions[row] = uint32(at)
	}
	qkv := t.Bytes(shaders.F32.Encode(joined))
	tiles, _, count := t.tiles(lora.Run{Slot: -1, Rows: rows})
	t.dispatches = []compute.Dispatch{shaders.RopeStore{
		QKV: shaders.Rows{Address: address(qkv), Stride: q + 2*kv}, Positions: cases.Place(t.Setup, positions),
		Lanes: cases.Place(t.Setup, make([]uint32, rows)), Tiles: tiles, PageTable: p.table(), MaxPages: p.maxPages,
		Pool: p.place(), PageBytes: int64(p.pageBytes), Heads: t.Heads, KVHeads: t.KVHeads, HeadDim: t.HeadDim,
		Rope: address(t.Bytes(shaders.F32.Encode(t.rotations()))), Type: shaders.BF16, Count: rows, TileCount: count,
	}.Dispatch(t.Kernels)}
	t.compare = func() (map[string]float64, error) { return t.compareRope(p, qkv) }
}

// compareRope compares the queries in their rows and the keys in their pages.
func (t *trial) compareRope(p *pool, qkv compute.Span) (map[string]float64, error) {
	rows, q, kv := len(t.Positions), t.Heads*t.HeadDim, t.KVHeads*t.HeadDim
	queries, err := t.exact("q", rows, q)
	if err != nil {
		return nil, err
	}
	keys, err := t.exact("k", rows, kv)
	if err != nil {
		return nil, err
	}
	turned, err := t.CompareRows(qkv, q+2*kv, queries)
	if err != nil {
		return nil, err
	}
	image, err := cases.Read[byte](t.Setup, p.span, len(p.image))
	if err != nil {
		return nil, err
	}
	var stored []float32
	for _, position := range t.Positions {
		for head := range t.KVHeads {
			at := p.keys(0, position, head)
			stored = append(stored, shaders.BF16.Decode(image[at:at+2*t.HeadDim])...)
		}
	}
	return map[string]float64{"q": finite(turned), "k": finite(cases.RelativeError(stored, keys.Values))}, nil
}

// rotations is the table [position][cosines, sines] of the rotary embedding.
func (t *trial) rotations() []float32 {
	r := t.Rope
	frequencies := checkpoint.RopeFrequencies(checkpoint.Config{HeadDim: t.HeadDim, Rope: checkpoint.Rope{
		Theta: r.Theta, Scaling: checkpoint.Scaling(r.Type), Factor: r.Factor, OriginalPositions: r.Original, LowFreq: r.LowFreq, HighFreq: r.HighFreq,
	}})
	var table []float32
	for position := range t.Positions[len(t.Positions)-1] + 1 {
		line := make([]float32, t.HeadDim)
		for i, f := range frequencies {
			sin, cos := math.Sincos(float64(position) * f)
			line[i], line[len(frequencies)+i] = float32(cos), float32(sin)
		}
		table = append(table, line...)
	}
	return table
}

func (t *trial) scale() float32 { return float32(1 / math.Sqrt(float64(t.HeadDim))) }

// prefill runs the last rows of one lane as a chunk.
func (t *trial) prefill() {
	keys, kv, width := t.History+t.Tokens, t.KVHeads*t.HeadDim, t.Heads*t.HeadDim
	p := t.newPool(1, keys)
	p.fill(0, keys, t.input("k", keys, kv), t.input("v", keys, kv))
	var items []shaders.PrefillItem
	tile := t.Kernels.QueryTile(t.Heads, t.KVHeads, t.HeadDim, shaders.BF16)
	for i := 0; i < t.Tokens; i += tile {
		items = append(items, shaders.PrefillItem{Row: uint32(i), Rows: uint32(min(tile, t.Tokens-i)), Start: uint32(t.History + i)})
	}
	y, span := t.Output(t.Tokens, width)
	t.dispatches = []compute.Dispatch{shaders.AttendPrefill{
		QKV: t.activations("q", t.Tokens, width), Out: y, Items: cases.Place(t.Setup, items), PageTable: p.table(), MaxPages: p.maxPages,
		Pool: p.place(), PageBytes: int64(p.pageBytes), Heads: t.Heads, KVHeads: t.KVHeads, HeadDim: t.HeadDim,
		Scale: t.scale(), Type: shaders.BF16, Count: len(items),
	}.Dispatch(t.Kernels)}
	t.compareRows(span, t.Tokens, width)
}

// decode runs one row per lane.
func (t *trial) decode() {
	rows, kv, width := len(t.Keys), t.KVHeads*t.HeadDim, t.Heads*t.HeadDim
	p := t.newPool(rows, t.Keys[rows-1])
	var decodes []shaders.DecodeRow
	ranges := 0
	for row, n := range t.Keys {
		p.fill(row, n, t.input(fmt.Sprint("k", row), n, kv), t.input(fmt.Sprint("v", row), n, kv))
		part := splitKeys
		if t.Kernels.Style() == shaders.Lanes {
			part = n // this style does not split keys
		}
		d := shaders.DecodeRow{Row: row, Lane: row, Keys: n, Length: part, Base: ranges}
		decodes = append(decodes, d)
		ranges += d.Ranges()
	}
	workgroups := (ranges + rangesEach - 1) / rangesEach
	y, span := t.Output(rows, width)
	t.dispatches = []compute.Dispatch{shaders.AttendDecode{
		QKV: t.activations("q", rows, width), Out: y, Items: cases.Place(t.Setup, shaders.DecodeItems(nil, decodes, workgroups)), PageTable: p.table(), MaxPages: p.maxPages,
		Pool: p.place(), PageBytes: int64(p.pageBytes), Heads: t.Heads, KVHeads: t.KVHeads, HeadDim: t.HeadDim,
		Scratch:  address(t.Alloc(int(shaders.AttendDecodeScratch(ranges, t.Heads, t.HeadDim)))),
		Counters: cases.Place(t.Setup, make([]uint32, rows*t.KVHeads)),
		Scale:    t.scale(), Type: shaders.BF16, Count: workgroups,
	}.Dispatch(t.Kernels)}
	t.compareRows(span, rows, width)
}
