package parity

import (
	"fmt"
	"math"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
	"lorikeet/shaders/reference"
)

// spare is the last of the pages, at the beginning of the pool, that no lane has: what is there may not matter.
const spare = 1

// pool is the KV pages of some lanes, of one layer, the later ones of a lane before the earlier ones.
type pool struct {
	table     uint64
	span      compute.Span
	maxPages  int
	pages     []map[int]int // [lane]: page number by index in the lane's line of the table
	kvHeads   int
	headDim   int
	kind      shaders.Type
	pageBytes int64
	count     int // of pages
}

// pool lays out pages for the positions of each lane.
func (t *trial) pool(positions [][]int) *pool {
	p := &pool{kvHeads: t.KVHeads, headDim: t.HeadDim, kind: t.kind}
	p.pageBytes = int64(2 * p.half() * t.kind.Size())
	last := spare
	for _, list := range positions {
		for _, at := range list {
			p.maxPages = max(p.maxPages, at/shaders.PageTokens+1)
		}
	}
	table := make([]uint32, len(positions)*p.maxPages)
	for i := range table {
		table[i] = math.MaxUint32
	}
	for lane, list := range positions {
		pages := map[int]int{}
		for i := len(list) - 1; i >= 0; i-- {
			page := list[i] / shaders.PageTokens
			if _, ok := pages[page]; !ok {
				last++
				pages[page] = last
				table[lane*p.maxPages+page] = uint32(last)
			}
		}
		p.pages = append(p.pages, pages)
	}
	p.table = cases.Place(t.Setup, table)
	p.count = last + 1
	return p
}

// half is the elements of a page's keys.
func (p *pool) half() int { return p.kvHeads * shaders.PageTokens * p.headDim }

// at is where the keys of a position's head begin, in elements.
func (p *pool) at(lane, position, head int) int {
	page := p.pages[lane][position/shaders.PageTokens]
	return page*2*p.half() + (head*shaders.PageTokens+position%shaders.PageTokens)*p.headDim
}

// fill puts the keys and values [position][head*dim] of each lane on the device, NaN elsewhere.
func (p *pool) fill(t *trial, keys, values []reference.Matrix) {
	image := make([]float32, p.count*2*p.half())
	for i := range image {
		image[i] = float32(math.NaN())
	}
	for lane := range keys {
		for position := range keys[lane].Rows {
			for head := range p.kvHeads {
				for i := range p.headDim {
					at := p.at(lane, position, head) + i
					image[at] = float32(keys[lane].Row(position)[head*p.headDim+i])
					image[at+p.half()] = float32(values[lane].Row(position)[head*p.headDim+i])
				}
			}
		}
	}
	p.span = t.Bytes(t.kind.Encode(image))
}

func (p *pool) address() uint64 {
	if p.span.Buffer == nil {
		return 0
	}
	return p.span.Address()
}

// upTo lists 0 to n-1.
func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// rope turns queries in place and keys on their way to the pages; values go there as they are.
func (t *trial) rope() {
	rows := len(t.Positions)
	q, k := t.input("q", rows, t.Heads*t.HeadDim, 1, 0), t.input("k", rows, t.KVHeads*t.HeadDim, 1, 0)
	p := t.pool([][]int{t.Positions})
	p.span = t.Alloc(p.count * int(p.pageBytes))
	stride := (t.Heads + 2*t.KVHeads) * t.HeadDim
	qkv := t.Bytes(shaders.F32.Encode(padded(beside(q, k, k))))
	if qkv.Buffer == nil {
		return
	}
	positions := make([]uint32, rows)
	for i, at := range t.Positions {
		positions[i] = uint32(at)
	}
	tiles, _, tileCount := t.tiles([]lora.Run{{Slot: -1, Rows: rows}})
	t.dispatches = []compute.Dispatch{shaders.RopeStore{
		QKV: shaders.Rows{Address: qkv.Address(), Stride: stride}, Positions: cases.Place(t.Setup, positions),
		Lanes: cases.Place(t.Setup, make([]uint32, rows)), Tiles: tiles, PageTable: p.table, MaxPages: p.maxPages,
		Pool: p.address(), PageBytes: p.pageBytes, Heads: t.Heads, KVHeads: t.KVHeads, HeadDim: t.HeadDim,
		Rope: t.place(shaders.F32, t.rotations()), Type: t.kind, Count: rows, TileCount: tileCount,
	}.Dispatch(t.Kernels)}
	t.compare = func(label string) (float64, error) {
		queries, err := t.want("q", label, rows, q.Columns)
		if err != nil {
			return 0, err
		}
		keys, err := t.want("k", label, rows, k.Columns)
		if err != nil {
			return 0, err
		}
		turned, err := t.CompareRows(qkv, stride, queries)
		if err != nil {
			return 0, err
		}
		pages, err := t.ReadType(p.span, p.count*2*p.half(), t.kind)
		if err != nil {
			return 0, err
		}
		var storedKeys, storedValues []float32
		for _, position := range t.Positions {
			for head := range t.KVHeads {
				at := p.at(0, position, head)
				storedKeys = append(storedKeys, pages[at:at+t.HeadDim]...)
				storedValues = append(storedValues, pages[at+p.half():at+p.half()+t.HeadDim]...)
			}
		}
		if cases.RelativeError(storedValues, k.Values) != 0 {
			return 0, fmt.Errorf("the values in the pages are not those that went in")
		}
		return max(turned, cases.RelativeError(storedKeys, keys.Values)), nil
	}
}

// rotations is the table [position][cosines, sines] of the case's rotary embedding.
func (t *trial) rotations() []float32 {
	r := t.Rope
	frequencies := checkpoint.RopeFrequencies(checkpoint.Config{HeadDim: t.HeadDim, Rope: checkpoint.Rope{
		Theta: r.Theta, Scaling: checkpoint.Scaling(r.Type), Factor: r.Factor, OriginalPositions: r.Original, LowFreq: r.LowFreq, HighFreq: r.HighFreq,
	}})
	var last int
	for _, position := range t.Positions {
		last = max(last, position)
	}
	table := make([]float32, 0, (last+1)*t.HeadDim)
	for position := range last + 1 {
		for _, f := range frequencies {
			table = append(table, float32(math.Cos(float64(position)*f)))
		}
		for _, f := range frequencies {
			table = append(table, float32(math.Sin(float64(position)*f)))
		}
	}
	return table
}

// prefill runs the last rows of one lane as a chunk.
func (t *trial) prefill() {
	heads, keys := t.Group*t.KVHeads, t.History+t.fixture.Rows
	q := t.input("q", t.fixture.Rows, heads*t.HeadDim, 1, 0)
	k, v := t.input("k", keys, t.KVHeads*t.HeadDim, 1, 0), t.input("v", keys, t.KVHeads*t.HeadDim, 1, 0)
	p := t.pool([][]int{upTo(keys)})
	p.fill(t, []reference.Matrix{k}, []reference.Matrix{v})
	var items []shaders.PrefillItem
	tile := t.Kernels.QueryTile(heads, t.KVHeads, t.HeadDim, t.kind)
	for i := 0; i < t.fixture.Rows; i += tile {
		items = append(items, shaders.PrefillItem{Row: uint32(i), Rows: uint32(min(tile, t.fixture.Rows-i)), Start: uint32(t.History + i)})
	}
	y, span := t.Output(t.fixture.Rows, heads*t.HeadDim)
	t.dispatches = []compute.Dispatch{shaders.AttendPrefill{
		QKV: t.rows(q), Out: y, Items: cases.Place(t.Setup, items), PageTable: p.table, MaxPages: p.maxPages,
		Pool: p.address(), PageBytes: p.pageBytes, Heads: heads, KVHeads: t.KVHeads, HeadDim: t.HeadDim,
		Scale: float32(1 / math.Sqrt(float64(t.HeadDim))), Type: t.kind, Count: len(items),
	}.Dispatch(t.Kernels)}
	t.compare = t.compareRows(span, y.Stride, t.fixture.Rows, heads*t.HeadDim)
}

// decode runs one row per lane, the keys of each in ranges as the model cuts them.
func (t *trial) decode() {
	heads, rows := t.Group*t.KVHeads, len(t.Keys)
	q := t.input("q", rows, heads*t.HeadDim, 1, 0)
	var positions [][]int
	var keys, values []reference.Matrix
	var decodes []shaders.DecodeRow
	ranges := 0
	for row, n := range t.Keys {
		positions = append(positions, upTo(n))
		keys = append(keys, t.input(fmt.Sprint("k", row), n, t.KVHeads*t.HeadDim, 1, 0))
		values = append(values, t.input(fmt.Sprint("v", row), n, t.KVHeads*t.HeadDim, 1, 0))
		part := 64
		if t.Kernels.Style() == shaders.Lanes {
			part = n // this style does not split keys
		}
		d := shaders.DecodeRow{Row: row, Lane: row, Keys: n, Length: part, Base: ranges}
		decodes = append(decodes, d)
		ranges += d.Ranges()
	}
	p := t.pool(positions)
	p.fill(t, keys, values)
	scratch := t.Alloc(int(shaders.AttendDecodeScratch(ranges, heads, t.HeadDim)))
	y, span := t.Output(rows, heads*t.HeadDim)
	if scratch.Buffer == nil {
		return
	}
	t.dispatches = []compute.Dispatch{shaders.AttendDecode{
		QKV: t.rows(q), Out: y, Items: cases.Place(t.Setup, shaders.DecodeItems(nil, decodes, ranges)), PageTable: p.table, MaxPages: p.maxPages,
		Pool: p.address(), PageBytes: p.pageBytes, Heads: heads, KVHeads: t.KVHeads, HeadDim: t.HeadDim,
		Scratch: scratch.Address(), Counters: cases.Place(t.Setup, make([]uint32, rows*t.KVHeads)),
		Scale: float32(1 / math.Sqrt(float64(t.HeadDim))), Type: t.kind, Count: ranges,
	}.Dispatch(t.Kernels)}
	t.compare = t.compareRows(span, y.Stride, rows, heads*t.HeadDim)
}

// warm starts to compile the attention kernels of some cases: they take longest, and do so beside other work.
func warm(k *shaders.Kernels, list []opCase, f *fixtures) {
	rows := shaders.Rows{Address: 1} // as the cases leave fp32 rows; nothing runs
	for i := range list {
		x, err := f.fixture(&list[i])
		if err != nil {
			continue // the case itself will say so
		}
		switch list[i].operator {
		case "decode":
			shaders.AttendDecode{Out: rows, Heads: x.Group, KVHeads: 1, HeadDim: x.HeadDim, Type: x.kind}.Dispatch(k)
		case "prefill":
			shaders.AttendPrefill{Out: rows, Heads: x.Group, KVHeads: 1, HeadDim: x.HeadDim, Type: x.kind}.Dispatch(k)
		}
	}
}
