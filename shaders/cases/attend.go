package cases

import (
	"fmt"
	"math"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

// attendShape is the heads of an attention layer.
type attendShape struct {
	kind           shaders.Type
	heads, kvHeads int
	headDim        int
}

func (a attendShape) String() string {
	return fmt.Sprintf("%v/%d of %d heads/%d wide", a.kind, a.heads, a.kvHeads, a.headDim)
}

// cache is a KV pool with the pages of several lanes scattered over it. What no lane owns is NaN.
type cache struct {
	shape        attendShape
	table        uint64
	maxPages     int
	pool         uint64
	pageBytes    int64
	layerOffset  int64
	keys, values [][][][]float64 // [lane][key head][token][column]
}

// cache places the keys and values of one lane per length.
func (s *Setup) cache(a attendShape, lengths []int) cache {
	const page = shaders.PageTokens
	c := cache{shape: a}
	total := 0
	for _, n := range lengths {
		c.maxPages = max(c.maxPages, (n+page-1)/page)
		total += (n + page - 1) / page
	}
	half := a.kvHeads * page * a.headDim
	const layers, layer = 3, 1
	pageElements := 2 * half * layers
	c.pageBytes = int64(pageElements * a.kind.Size())
	c.layerOffset = int64(2 * half * layer * a.kind.Size())

	spare := 2
	pool := make([]float32, (total+spare)*pageElements)
	for i := range pool {
		pool[i] = math.Float32frombits(poison)
	}
	numbers := s.Random.Perm(total + spare)
	table := make([]uint32, len(lengths)*c.maxPages)
	for i := range table {
		table[i] = 0xffffffff
	}
	for lane, length := range lengths {
		var keys, values [][][]float64
		for range a.kvHeads {
			keys = append(keys, make([][]float64, length))
			values = append(values, make([][]float64, length))
		}
		for t := range length {
			if t%page == 0 {
				table[lane*c.maxPages+t/page] = uint32(numbers[0])
				numbers = numbers[1:]
			}
			at := int(table[lane*c.maxPages+t/page])*pageElements + 2*half*layer
			for h := range a.kvHeads {
				from := at + (h*page+t%page)*a.headDim
				keys[h][t] = s.vector(pool[from:from+a.headDim], a.kind)
				values[h][t] = s.vector(pool[from+half:from+half+a.headDim], a.kind)
			}
		}
		c.keys = append(c.keys, keys)
		c.values = append(c.values, values)
	}
	c.table = Place(s, table)
	c.pool = address(s.Bytes(a.kind.Encode(pool)))
	return c
}

// vector fills dst with random values of the type and returns them.
func (s *Setup) vector(dst []float32, t shaders.Type) []float64 {
	out := make([]float64, len(dst))
	for i := range dst {
		dst[i] = t.Round(float32(s.Random.NormFloat64()))
		out[i] = float64(dst[i])
	}
	return out
}

// attend is the twin's answer for one row: the first keys keys of a lane.
func (c *cache) attend(out, qkv []float64, lane, keys int, scale float64) {
	a := c.shape
	for h := range a.heads {
		kv := h / (a.heads / a.kvHeads)
		q := qkv[h*a.headDim : (h+1)*a.headDim]
		copy(out[h*a.headDim:], reference.Attend(q, c.keys[lane][kv][:keys], c.values[lane][kv][:keys], scale))
	}
}

func (a attendShape) scale() float64 { return float64(float32(1 / math.Sqrt(float64(a.headDim)))) }

func attendDecodeCases() []Case {
	var list []Case
	for _, a := range []attendShape{
		{kind: shaders.BF16, heads: 8, kvHeads: 2, headDim: 128},
		{kind: shaders.F16, heads: 8, kvHeads: 1, headDim: 64},
		{kind: shaders.F32, heads: 3, kvHeads: 3, headDim: 80},
		{kind: shaders.BF16, heads: 5, kvHeads: 1, headDim: 256},
		{kind: shaders.F32, heads: 16, kvHeads: 1, headDim: 8},
	} {
		list = append(list,
			Case{
				Name: "attend_decode/" + a.String(), Stem: "attend_decode", Limit: 2e-6,
				Build: func(s *Setup) Run { return a.buildDecode(s, []int{1, 15, 16, 17, 64, 65, 200}, math.MaxInt, 1, nil) },
			},
			Case{
				Name: "attend_decode/" + a.String() + "/split", Stem: "attend_decode", Limit: 2e-6, Split: true,
				Build: func(s *Setup) Run { return a.buildDecode(s, []int{300, 7, 70, 161}, 1+s.Random.IntN(100), 1, nil) },
			},
			Case{
				Name: "attend_decode/" + a.String() + "/ranges", Stem: "attend_decode", Limit: 2e-6, Split: true,
				Build: func(s *Setup) Run { return a.buildDecode(s, []int{300, 7, 128, 700}, 128, 2+s.Random.IntN(2), nil) },
			},
			Case{
				Name: "attend_decode/" + a.String() + "/flowing", Stem: "attend_decode", Limit: 2e-6, Split: true,
				Build: func(s *Setup) Run { return a.buildDecode(s, []int{300, 7, 64, 65, 700}, 128, 2, s.flow()) },
			},
			Case{
				Name: "attend_decode/" + a.String() + "/odd ranges", Stem: "attend_decode", Limit: 2e-6, Split: true,
				Build: func(s *Setup) Run {
					return a.buildDecode(s, []int{161, 70, 7, 300}, 1+s.Random.IntN(100), 1+s.Random.IntN(12), nil)
				},
			},
		)
	}
	return list
}

// buildDecode has one row per lane, in reverse order, whose keys are cut into ranges of a length. There is a workgroup for each so many ranges.
func (a attendShape) buildDecode(s *Setup, lengths []int, length, each int, flow *flowing) Run {
	c := s.cache(a, lengths)
	qkv, _, values := s.Activations(len(lengths), (a.heads+2*a.kvHeads)*a.headDim)
	out, span := s.Output(len(lengths), a.heads*a.headDim)
	want := reference.NewMatrix(len(lengths), a.heads*a.headDim)
	var rows []shaders.DecodeRow
	ranges := 0
	for row := range lengths {
		lane := len(lengths) - 1 - row
		keys := lengths[lane]
		d := shaders.DecodeRow{Row: row, Lane: lane, Keys: keys, Length: min(length, keys), Base: ranges}
		rows = append(rows, d)
		ranges += d.Ranges()
		c.attend(want.Row(row), values.Row(row), lane, keys, a.scale())
	}
	workgroups := (ranges + each - 1) / each
	items := shaders.DecodeItems(nil, rows, workgroups)
	counters := s.Bytes(make([]byte, 4*len(lengths)*a.kvHeads))
	half := s.halves(len(lengths), a.heads*a.headDim, a.kind, false)
	op := shaders.AttendDecode{
		QKV: qkv, Out: out, Half: half.Halves, Items: Place(s, items), PageTable: c.table, MaxPages: c.maxPages,
		Pool: c.pool, PageBytes: c.pageBytes, LayerOffset: c.layerOffset,
		Heads: a.heads, KVHeads: a.kvHeads, HeadDim: a.headDim,
		Scratch:  address(s.Alloc(int(shaders.AttendDecodeScratch(ranges, a.heads, a.headDim)))),
		Counters: address(counters), Flow: flow.stage(), Scale: float32(a.scale()), Type: a.kind, Count: workgroups,
	}
	both := op.Dispatch(s.Kernels)
	flow.owe(s, &both, nil)
	dispatches, alone := s.withAlone(half, both, func(h *shaders.Halves) compute.Dispatch {
		op.Out, op.Half, op.Flow = shaders.Rows{}, h, 0
		return op.Dispatch(s.Kernels)
	})
	return Run{
		Dispatches: dispatches,
		Check: flow.andPaid(s, s.andAlone(half, alone, s.andHalves(half, span, len(lengths), out.Stride, none, func() (float64, error) {
			left, err := Read[uint32](s, counters, len(lengths)*a.kvHeads)
			if err != nil {
				return 0, err
			}
			for _, n := range left {
				if n != 0 {
					return math.Inf(1), nil
				}
			}
			return s.CompareRows(span, out.Stride, want)
		}))),
	}
}

// prefillChunk is the last rows of one lane.
type prefillChunk struct{ history, rows int }

var (
	mixedChunks = []prefillChunk{{0, 1}, {0, 33}, {66, 64}, {74, 5}, {130, 70}}
	// edgeChunks stand around pages, blocks of keys and tiles of rows.
	edgeChunks = []prefillChunk{{63, 1}, {5, 2}, {16, 15}, {0, 16}, {31, 17}, {1, 127}, {0, 128}, {50, 129}}
)

func attendPrefillCases() []Case {
	var list []Case
	for _, a := range []attendShape{
		{kind: shaders.BF16, heads: 8, kvHeads: 2, headDim: 128},
		{kind: shaders.F16, heads: 8, kvHeads: 1, headDim: 64},
		{kind: shaders.F32, heads: 3, kvHeads: 3, headDim: 80},
		{kind: shaders.BF16, heads: 2, kvHeads: 1, headDim: 256},
	} {
		list = append(list, a.prefillCase("mixed", mixedChunks))
	}
	for _, a := range []attendShape{
		{kind: shaders.F16, heads: 4, kvHeads: 1, headDim: 128},
		{kind: shaders.F16, heads: 2, kvHeads: 2, headDim: 64},
		{kind: shaders.F16, heads: 3, kvHeads: 1, headDim: 128},
		{kind: shaders.BF16, heads: 7, kvHeads: 1, headDim: 64},
	} {
		list = append(list, a.prefillCase("edges", edgeChunks))
	}
	long := attendShape{kind: shaders.F16, heads: 1, kvHeads: 1, headDim: 64}
	return append(list, long.prefillCase("long", []prefillChunk{{3990, 107}, {0, 300}}))
}

func (a attendShape) prefillCase(name string, chunks []prefillChunk) Case {
	return Case{
		Name: "attend_prefill/" + a.String() + "/" + name, Stem: "attend_prefill", Limit: 2e-6,
		Build: func(s *Setup) Run { return a.buildPrefill(s, chunks) },
	}
}

// unitRoundoff is the largest relative error of rounding to the type.
func unitRoundoff(t shaders.Type) float64 {
	return map[shaders.Type]float64{shaders.F16: 0x1p-11, shaders.BF16: 0x1p-8}[t]
}

// buildPrefill has one lane per chunk. attend_coop rounds queries and exponentials to the type; the twin rounds the
// queries too, and the exponentials' rounding is what its limit leaves room for: each is off by less than the unit
// roundoff, most by less than half of it, and their errors do not add up as the values themselves may.
func (a attendShape) buildPrefill(s *Setup, chunks []prefillChunk) Run {
	var lengths []int
	rows := 0
	for _, chunk := range chunks {
		lengths = append(lengths, chunk.history+chunk.rows)
		rows += chunk.rows
	}
	c := s.cache(a, lengths)
	qkv, _, values := s.Activations(rows, (a.heads+2*a.kvHeads)*a.headDim)
	out, span := s.Output(rows, a.heads*a.headDim)
	tile := s.Kernels.QueryTile(a.heads, a.kvHeads, a.headDim, a.kind)
	var items []shaders.PrefillItem
	row := 0
	for lane, chunk := range chunks {
		for i := 0; i < chunk.rows; i += tile {
			items = append(items, shaders.PrefillItem{
				Row: uint32(row + i), Rows: uint32(min(tile, chunk.rows-i)),
				Lane: uint32(lane), Start: uint32(chunk.history + i),
			})
		}
		row += chunk.rows
	}
	half := s.halves(rows, a.heads*a.headDim, a.kind, false)
	op := shaders.AttendPrefill{
		QKV: qkv, Out: out, Half: half.Halves, Items: Place(s, items), PageTable: c.table, MaxPages: c.maxPages,
		Pool: c.pool, PageBytes: c.pageBytes, LayerOffset: c.layerOffset,
		Heads: a.heads, KVHeads: a.kvHeads, HeadDim: a.headDim,
		Scale: float32(a.scale()), Type: a.kind, Count: len(items),
	}
	dispatches, alone := s.withAlone(half, op.Dispatch(s.Kernels), func(h *shaders.Halves) compute.Dispatch {
		op.Out, op.Half = shaders.Rows{}, h
		return op.Dispatch(s.Kernels)
	})
	var limit float64
	if dispatches[0].Label == "attend_coop" {
		limit = unitRoundoff(a.kind)
		for i, v := range values.Values {
			values.Values[i] = float64(a.kind.Round(float32(v)))
		}
	}
	return Run{
		Limit:      limit,
		Dispatches: dispatches,
		Check: s.andAlone(half, alone, s.andHalves(half, span, rows, out.Stride, none, func() (float64, error) {
			want := reference.NewMatrix(rows, a.heads*a.headDim)
			row := 0
			for lane, chunk := range chunks {
				for i := range chunk.rows {
					c.attend(want.Row(row), values.Row(row), lane, chunk.history+i+1, a.scale())
					row++
				}
			}
			return s.CompareRows(span, out.Stride, want)
		})),
	}
}
