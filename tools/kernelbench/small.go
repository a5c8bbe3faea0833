package main

import (
	"fmt"
	"math"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/model"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
)

// smallRows are the kernels between the products. They have no weights to rotate: in a step, too, what they read was just
// written.
func smallRows(s *model.Shape, tokens []int) []row {
	var list []row
	add := func(name string, n int, build func(t *trial, s *model.Shape, tokens int)) {
		list = append(list, row{name: fmt.Sprintf("%s/tokens=%d", name, n), build: func(t *trial) { build(t, s, n) }})
	}
	for _, n := range tokens {
		add("embed", n, (*trial).embed)
		add("rope_store", n, (*trial).ropeStore)
		add("residual", n, (*trial).residual)
		add("silu_mul", n, (*trial).siluMul)
		if n <= mostHeadTokens {
			add("sample", n, (*trial).sample)
		}
	}
	return list
}

// only makes a dispatch the row's work.
func (t *trial) only(d compute.Dispatch) {
	t.sets, t.bytes, t.flops = [][]compute.Dispatch{{d}}, d.Bytes, d.Flops
}

// base is the tiles of rows without adapters.
func (t *trial) base(tokens int) (at uint64, count int) {
	tiles, _ := lora.Tiles(nil, runs(tokens, 0))
	return cases.Place(t.Setup, tiles), len(tiles)
}

func (t *trial) embed(s *model.Shape, tokens int) {
	table := t.sized(2 * s.Vocab * cases.Pad8(s.Hidden))
	if len(table) == 0 {
		return
	}
	ids := make([]uint32, tokens)
	for i := range ids {
		ids[i] = uint32(t.Random.IntN(s.Vocab))
	}
	x, span := t.Output(tokens, s.Hidden)
	squares, _ := t.Output(tokens, (s.Hidden+shaders.SquaresUnit-1)/shaders.SquaresUnit)
	t.only(shaders.Embed{
		Table:  shaders.Matrix{Address: table[0].Address(), Stride: cases.Pad8(s.Hidden), Type: shaders.BF16},
		Tokens: cases.Place(t.Setup, ids), X: x, Squares: squares.Address, Width: s.Hidden, Count: tokens,
	}.Dispatch(t.Kernels))
	t.check = func() (float64, error) {
		return t.compareSome(tokens, s.Hidden, func(row, column int) (got, want float64, err error) {
			w, err := t.pool.values(table[0], int(ids[row])*cases.Pad8(s.Hidden)+column, 1)
			if err != nil {
				return 0, 0, err
			}
			y, err := t.floats(span, row*x.Stride+column, 1)
			if err != nil {
				return 0, 0, err
			}
			return y[0], w[0], nil
		})
	}
}

func (t *trial) residual(s *model.Shape, tokens int) {
	x, span := t.random(tokens, s.Hidden, 1)
	y, ySpan := t.random(tokens, s.Hidden, 1)
	squares, _ := t.Output(tokens, (s.Hidden+shaders.SquaresBlock-1)/shaders.SquaresBlock)
	tiles, count := t.base(tokens)
	t.only(shaders.Residual{
		X: x, Y: y, Squares: squares.Address, Width: s.Hidden, Tiles: tiles, Type: shaders.BF16, Count: tokens, TileCount: count,
	}.Dispatch(t.Kernels))
	t.check = func() (float64, error) {
		after, err := t.floats(span, 0, tokens*x.Stride)
		if err != nil {
			return 0, err
		}
		if err := t.refill(); err != nil {
			return 0, err
		}
		return t.compareSome(tokens, s.Hidden, func(row, column int) (got, want float64, err error) {
			for _, term := range []compute.Span{span, ySpan} {
				v, err := t.floats(term, row*x.Stride+column, 1)
				if err != nil {
					return 0, 0, err
				}
				want += v[0]
			}
			return after[row*x.Stride+column], want, nil
		})
	}
}

func (t *trial) siluMul(s *model.Shape, tokens int) {
	inner := cases.Pad8(s.Inner)
	both, bothSpan := t.random(tokens, 2*inner, 2)
	y, span := t.Output(tokens, s.Inner)
	tiles, count := t.base(tokens)
	t.only(shaders.SiluMul{
		GateUp: both, UpOffset: inner, Out: y, Inner: s.Inner, Tiles: tiles, Type: shaders.BF16, Count: tokens, TileCount: count,
	}.Dispatch(t.Kernels))
	t.check = func() (float64, error) {
		return t.compareSome(tokens, s.Inner, func(row, column int) (got, want float64, err error) {
			gate, err := t.floats(bothSpan, row*both.Stride+column, 1)
			if err != nil {
				return 0, 0, err
			}
			up, err := t.floats(bothSpan, row*both.Stride+inner+column, 1)
			if err != nil {
				return 0, 0, err
			}
			result, err := t.floats(span, row*y.Stride+column, 1)
			if err != nil {
				return 0, 0, err
			}
			return result[0], gate[0] / (1 + math.Exp(-gate[0])) * up[0], nil
		})
	}
}

// ropeStore turns tokens of one lane, all by the same angles: what a table of rotations holds does not change the time.
func (t *trial) ropeStore(s *model.Shape, tokens int) {
	kv := t.keysAndValues(s, 1, tokens)
	if len(kv.sets) == 0 {
		return
	}
	pages := t.Alloc(kv.maxPages * kv.pageBytes)
	qkv, span := t.random(tokens, s.QKV(), 1)
	positions, rotations := make([]uint32, tokens), make([]float32, 0, tokens*s.HeadDim)
	sin, cos := math.Sincos(1)
	for i := range positions {
		positions[i] = uint32(i)
		for range s.HeadDim / 2 {
			rotations = append(rotations, float32(cos))
		}
		for range s.HeadDim / 2 {
			rotations = append(rotations, float32(sin))
		}
	}
	tiles, count := t.base(tokens)
	if pages.Buffer == nil {
		return
	}
	t.only(shaders.RopeStore{
		QKV: qkv, Positions: cases.Place(t.Setup, positions), Lanes: cases.Place(t.Setup, make([]uint32, tokens)), Tiles: tiles,
		PageTable: cases.Place(t.Setup, kv.pages), MaxPages: kv.maxPages, Pool: pages.Address(), PageBytes: int64(kv.pageBytes),
		Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim, Rope: cases.Place(t.Setup, rotations),
		Type: shaders.BF16, Count: tokens, TileCount: count,
	}.Dispatch(t.Kernels))
	t.check = func() (float64, error) {
		after, err := t.floats(span, 0, tokens*qkv.Stride)
		if err != nil {
			return 0, err
		}
		if err := t.refill(); err != nil {
			return 0, err
		}
		return t.compareSome(tokens, s.HeadDim/2, func(row, column int) (got, want float64, err error) {
			pair, err := t.floats(span, row*qkv.Stride, s.HeadDim)
			if err != nil {
				return 0, 0, err
			}
			return after[row*qkv.Stride+column], pair[column]*cos - pair[column+s.HeadDim/2]*sin, nil
		})
	}
}

// sample draws the most likely token of each row.
func (t *trial) sample(s *model.Shape, tokens int) {
	logits, span := t.random(tokens, s.Vocab, 3)
	params := make([]shaders.SampleRow, tokens)
	for i := range params {
		params[i] = shaders.SampleRow{Lane: uint32(i), Target: shaders.SampleToken, TopP: 1}
	}
	results := t.Alloc(8 * tokens)
	if results.Buffer == nil {
		return
	}
	t.only(shaders.Sample{
		Logits: logits, Vocab: s.Vocab, Count: tokens, Params: cases.Place(t.Setup, params), Results: results.Address(),
		Ids: cases.Place(t.Setup, make([]uint32, 1)), TopOut: cases.Place(t.Setup, make([]shaders.TopEntry, shaders.MaxTop*tokens)),
		IdsOut: cases.Place(t.Setup, make([]float32, 1)), LastTokens: cases.Place(t.Setup, make([]uint32, tokens)),
	}.Dispatch(t.Kernels))
	t.check = func() (float64, error) {
		got, err := cases.Read[shaders.SampleResult](t.Setup, results, tokens)
		if err != nil {
			return 0, err
		}
		for row := range min(tokens, 4) {
			values, err := t.floats(span, row*logits.Stride, s.Vocab)
			if err != nil {
				return 0, err
			}
			best := 0
			for i, v := range values {
				if v > values[best] {
					best = i
				}
			}
			if int(got[row].Token) != best {
				return math.Inf(1), nil
			}
		}
		return 0, nil
	}
}
