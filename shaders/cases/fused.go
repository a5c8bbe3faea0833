package cases

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

// fusedShape is a projection that ends its own outputs: of in columns, with or without a norm, for a batch.
type fusedShape struct {
	ending   string
	t        shaders.Type
	in       int
	normed   bool
	lora     bool
	describe string
	batch    tiled
	outputs  int       // of a residual, or of gate
	alone    bool      // where halves are left, the rows of a silu_mul are not
	heads    headShape // of a rope_store
	fine     bool      // of a residual

	multiprocessors int // that tiles are divided between
}

// order is which of a fused projection's dispatches runs first.
type order int

const (
	together    order = iota // in one stage, as the model runs few rows
	shrinkFirst              // every tile is ended by the projection
	shrinkLast               // every tile is ended by the shrink
	flowed                   // together, in a stage that flows, where products by matrices do
)

func (o order) String() string {
	return [...]string{"together", "shrink first", "shrink last", "flowing"}[o]
}

func fusedShapes() []fusedShape {
	mixed, one := tile(mixedRuns), tile([]run{{5, 1}})
	few := tile([]run{{6, 2}, {base, 1}, {skipped, 1}, {4, 1}, {0, 3}})
	full := tile([]run{{6, 8}, {3, 8}, {base, 4}, {1, 8}, {5, 4}}) // two tiles of 16 rows
	some := tile([]run{{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {6, 1}, {base, 2}, {6, 3}, {0, 4}, {5, 2}, {skipped, 2}, {3, 8}, {4, 1}})
	many := tile(inTiles([]run{{6, 90}, {base, 20}, {1, 33}, {skipped, 1}, {5, 40}, {3, 100}, {base, 3}, {4, 30}}))
	sparse := tile([]run{{base, 8}, {base, 8}, {skipped, 3}, {base, 8}, {base, 5}, {base, 1}, {skipped, 8}})
	var alternating []run
	for t := range 200 {
		slot := t * 3 % 8
		if slot == len(mixedRanks) {
			slot = base
		}
		alternating = append(alternating, run{slot, 1})
	}
	turns, more := tile(alternating[:130]), tile(alternating) // products of few outputs have deltas in them again
	return []fusedShape{
		{ending: "rope_store", t: shaders.F32, in: 100, normed: true, lora: true, describe: "mixed", batch: mixed, heads: headShape{4, 1, 80}},
		{ending: "rope_store", t: shaders.F16, in: 264, normed: true, lora: true, describe: "few", batch: few, heads: headShape{2, 2, 64}},
		{ending: "rope_store", t: shaders.BF16, in: 520, normed: true, lora: true, describe: "one row", batch: one, heads: headShape{8, 1, 128}},
		{ending: "rope_store", t: shaders.BF16, in: 264, normed: true, lora: true, describe: "mixed", batch: mixed, heads: headShape{4, 2, 32}},
		{ending: "rope_store", t: shaders.BF16, in: 264, normed: true, lora: true, describe: "some", batch: some, heads: headShape{2, 1, 64}},
		{ending: "rope_store", t: shaders.BF16, in: 40, normed: true, lora: true, describe: "many outputs", batch: some, heads: headShape{40, 8, 128}},
		{ending: "rope_store", t: shaders.F16, in: 40, normed: true, lora: true, describe: "many outputs", batch: some, heads: headShape{44, 8, 96}},
		{ending: "rope_store", t: shaders.F16, in: 136, normed: true, describe: "no adapters", batch: baseTiles(13), heads: headShape{4, 2, 256}},
		{ending: "rope_store", t: shaders.BF16, in: 136, normed: true, describe: "no adapters, 50 rows", batch: baseTiles(50), heads: headShape{6, 1, 128}},
		{ending: "rope_store", t: shaders.BF16, in: 264, normed: true, describe: "no adapters, 100 rows", batch: baseTiles(100), heads: headShape{34, 8, 128}},
		{ending: "rope_store", t: shaders.BF16, in: 72, normed: true, describe: "no adapters, many outputs", batch: baseTiles(50), heads: headShape{112, 8, 128}},
		{ending: "rope_store", t: shaders.F16, in: 40, normed: true, describe: "no adapters, many outputs", batch: baseTiles(33), heads: headShape{160, 8, 96}},
		{ending: "rope_store", t: shaders.BF16, in: 136, normed: true, describe: "no adapters, many outputs", batch: sparse, heads: headShape{54, 6, 256}},
		{ending: "residual", t: shaders.F32, in: 72, lora: true, describe: "few", batch: few, outputs: 100},
		{ending: "residual", t: shaders.F16, in: 1000, lora: true, describe: "mixed", batch: mixed, outputs: 523},
		{ending: "residual", t: shaders.BF16, in: 2152, lora: true, describe: "one row", batch: one, outputs: 264, fine: true},
		{ending: "residual", t: shaders.BF16, in: 520, lora: true, describe: "some", batch: some, outputs: 4100},
		{ending: "residual", t: shaders.F16, in: 72, lora: true, describe: "many outputs", batch: some, outputs: 4100},
		{ending: "residual", t: shaders.BF16, in: 264, lora: true, describe: "full", batch: full, outputs: 264},
		{ending: "residual", t: shaders.BF16, in: 520, describe: "no adapters", batch: baseTiles(2), outputs: 513},
		{ending: "residual", t: shaders.BF16, in: 264, describe: "no adapters, 45 rows", batch: baseTiles(45), outputs: 520},
		{ending: "residual", t: shaders.F16, in: 264, describe: "no adapters, many outputs", batch: baseTiles(40), outputs: 16420},
		{ending: "residual", t: shaders.BF16, in: 264, describe: "no adapters, many outputs", batch: sparse, outputs: 16437, fine: true},
		{ending: "residual", t: shaders.F16, in: 264, describe: "no adapters, 150 rows", batch: baseTiles(150), outputs: 4104},
		{ending: "silu_mul", t: shaders.F32, in: 100, normed: true, lora: true, describe: "mixed", batch: mixed, outputs: 301},
		{ending: "silu_mul", t: shaders.F16, in: 264, normed: true, lora: true, describe: "one row", batch: one, outputs: 100},
		{ending: "silu_mul", t: shaders.BF16, in: 136, normed: true, lora: true, describe: "many outputs", batch: few, outputs: 8200},
		{ending: "silu_mul", t: shaders.BF16, in: 264, normed: true, lora: true, describe: "mixed", batch: mixed, outputs: 768},
		{ending: "silu_mul", t: shaders.F16, in: 264, normed: true, lora: true, describe: "some", batch: some, outputs: 344},
		{ending: "silu_mul", t: shaders.BF16, in: 72, normed: true, lora: true, describe: "many outputs, some", batch: some, outputs: 4104},
		{ending: "silu_mul", t: shaders.BF16, in: 136, normed: true, lora: true, describe: "full", batch: full, outputs: 4104},
		{ending: "silu_mul", t: shaders.F16, in: 72, normed: true, lora: true, describe: "halves alone", batch: some, outputs: 331, alone: true},
		{ending: "silu_mul", t: shaders.F16, in: 72, normed: true, describe: "no adapters, one row", batch: baseTiles(1), outputs: 8200},
		{ending: "silu_mul", t: shaders.BF16, in: 136, normed: true, describe: "no adapters, 64 rows", batch: baseTiles(64), outputs: 4104},
		{ending: "silu_mul", t: shaders.BF16, in: 424, normed: true, describe: "no adapters, many outputs", batch: baseTiles(64), outputs: 8200},
		{ending: "silu_mul", t: shaders.F16, in: 136, normed: true, describe: "no adapters, many outputs", batch: baseTiles(45), outputs: 8201, alone: true},
		{ending: "rope_store", t: shaders.F16, in: 136, normed: true, lora: true, describe: "many", batch: many, heads: headShape{4, 2, 64}},
		{ending: "rope_store", t: shaders.BF16, in: 264, normed: true, lora: true, describe: "many", batch: many, heads: headShape{3, 1, 128}, multiprocessors: 11},
		{ending: "rope_store", t: shaders.F16, in: 72, normed: true, lora: true, describe: "turns, by many columns", batch: turns, heads: headShape{160, 8, 96}},
		{ending: "rope_store", t: shaders.F16, in: 100, normed: true, lora: true, describe: "turns", batch: more, heads: headShape{3, 2, 32}},
		{ending: "rope_store", t: shaders.BF16, in: 100, normed: true, describe: "many, no adapters", batch: baseTiles(300), heads: headShape{2, 1, 128}},
		{ending: "rope_store", t: shaders.F16, in: 72, normed: true, lora: true, describe: "turns, tiles of three sites", batch: more, heads: headShape{5, 1, 32}},
		{ending: "rope_store", t: shaders.F16, in: 72, normed: true, lora: true, describe: "turns, tiles of two sites", batch: more, heads: headShape{3, 1, 96}},
		{ending: "residual", t: shaders.F16, in: 100, lora: true, describe: "turns, few outputs", batch: more, outputs: 37},
		{ending: "silu_mul", t: shaders.F16, in: 100, normed: true, lora: true, describe: "turns, few outputs", batch: more, outputs: 20},
		{ending: "residual", t: shaders.F16, in: 300, lora: true, describe: "many", batch: many, outputs: 523, multiprocessors: 11},
		{ending: "residual", t: shaders.BF16, in: 520, lora: true, describe: "many", batch: many, outputs: 384, fine: true},
		{ending: "residual", t: shaders.BF16, in: 72, lora: true, describe: "turns, many outputs", batch: turns, outputs: 16400},
		{ending: "residual", t: shaders.F16, in: 136, lora: true, describe: "turns", batch: more, outputs: 100},
		{ending: "residual", t: shaders.F16, in: 72, describe: "many, no adapters", batch: baseTiles(201), outputs: 300, fine: true},
		{ending: "silu_mul", t: shaders.F16, in: 72, normed: true, lora: true, describe: "turns, many outputs", batch: turns, outputs: 8200},
		{ending: "silu_mul", t: shaders.BF16, in: 136, normed: true, lora: true, describe: "turns, many outputs", batch: turns, outputs: 8200, alone: true},
		{ending: "silu_mul", t: shaders.F16, in: 264, normed: true, lora: true, describe: "many, halves alone", batch: many, outputs: 301, alone: true, multiprocessors: 30},
		{ending: "silu_mul", t: shaders.BF16, in: 264, normed: true, lora: true, describe: "many", batch: many, outputs: 640},
		{ending: "silu_mul", t: shaders.F16, in: 72, normed: true, describe: "many, no adapters", batch: baseTiles(260), outputs: 300},
		{ending: "silu_mul", t: shaders.BF16, in: 72, normed: true, describe: "very many, no adapters", batch: baseTiles(2060), outputs: 24},
	}
}

// productLimits are the errors that the outputs of fused projections may have where matrices multiply B with products of A that are rounded
// to the type, or where they are read as halves.
var productLimits = map[shaders.Type]float64{shaders.F16: 5e-4, shaders.BF16: 4e-3}

func fusedCases() []Case {
	var list []Case
	for _, f := range fusedShapes() {
		if f.lora {
			list = append(list, f.row(shrinkFirst))
		}
		if f.many() {
			if !f.lora {
				list = append(list, f.row(together))
			}
			continue
		}
		list = append(list, f.row(together))
		if f.lora {
			list = append(list, f.row(shrinkLast))
		}
		if f.t != shaders.F32 && !f.apart() {
			list = append(list, f.row(flowed))
		}
	}
	return list
}

// many says whether the batch has more rows than stages that flow.
func (f fusedShape) many() bool { return len(f.batch.slots) > 64 }

// apart says whether products by matrices leave the outputs to a stage behind, where stages may flow: with deltas, of more rows than they
// end fast.
func (f fusedShape) apart() bool { return f.lora && len(f.batch.slots) > 32 && !f.many() }

func (f fusedShape) row(o order) Case {
	limit := 1e-5
	if f.ending == "rope_store" {
		limit = max(limit, ropeStoreLimits[f.t])
	}
	var ends shaders.Type
	if f.many() {
		ends = f.t
	}
	return Case{
		Name: fmt.Sprintf("fused/%s/%v/%d columns, %s, %v", f.ending, f.t, f.in, f.describe, o),
		Stem: "fused", Limit: limit, Flows: o == flowed, Ends: ends,
		Elsewhere: f.t != shaders.F32 && (f.apart() || f.lora && (o == together || o == shrinkLast)),
		Build:     func(s *Setup) Run { return f.build(s, o) },
	}
}

// upRow is where the ups begin behind so many gates.
func upRow(gates int) int {
	return (gates + shaders.PanelRows - 1) / shaders.PanelRows * shaders.PanelRows
}

// sites is the outputs of each site that adapters have.
func (f fusedShape) sites() []int {
	switch f.ending {
	case "rope_store":
		return f.heads.sites()
	case "silu_mul":
		return []int{f.outputs, f.outputs}
	}
	return []int{f.outputs}
}

// rowsOfW is the projection's outputs.
func (f fusedShape) rowsOfW() int {
	switch f.ending {
	case "rope_store":
		return f.heads.columns()
	case "silu_mul":
		return 2 * upRow(f.outputs)
	}
	return f.outputs
}

func (f fusedShape) build(s *Setup, o order) Run {
	const eps = 1e-5
	rows := len(f.batch.slots)
	weights := s.normal(f.rowsOfW(), f.in, f.t, 1/math.Sqrt(float64(f.in)))
	w := s.Projection(weights, f.t)
	x, _, values := s.Activations(rows, f.in)
	normed := values
	var norm *shaders.Norm
	var gamma []float64
	if f.normed {
		n, g := s.Norm(values, f.t, eps)
		norm, gamma, normed = &n, g, reference.Normed(values, g, eps)
	}
	y, ySpan := s.Output(rows, f.rowsOfW())
	exact := normed
	if s.Kernels.Panels(f.t) {
		normed = asHalves(values, gamma, eps, f.t)
	}
	parts, _ := s.Parts(f.multiprocessors)
	project := shaders.Project{W: w, X: x, Y: y, In: f.in, Out: f.rowsOfW(), Tokens: rows, Norm: norm, Parts: parts}
	before := s.Product(&project)
	var half *shaders.Halves
	if s.Kernels.ShrinksHalves(f.t) {
		half = &project.Half
	}

	d := s.noDeltas(rows)
	var shrink *shaders.Shrink
	if f.lora {
		d.set = s.adapters(mixedRanks, f.in, f.sites(), f.t)
		hidden, _ := s.Output(rows, len(f.sites())*d.set.maxRank)
		read := normed
		if !s.Kernels.ShrinksHalves(f.t) {
			read = exact
		}
		d.site, d.hidden = d.set.delta(hidden), reference.Shrink(read, d.set.ofRows(f.batch.slots, len(f.sites())), d.set.maxRank)
		shrink = &shaders.Shrink{
			Tiles: Place(s, f.batch.tiles), Table: d.set.table, SitesPerSlot: d.set.sitesPerSlot, FirstSite: d.set.firstSite,
			Sites: len(f.sites()), X: x, Half: half, In: f.in, Norm: norm, Hidden: hidden, MaxRank: d.set.maxRank, Type: f.t,
			Count: rows, TileCount: len(f.batch.tiles),
		}
	}
	outputs := reference.Project(weights, normed, nil)
	ending, check := f.end(s, outputs, d, output{span: ySpan, stride: y.Stride})

	var flow *flowing
	if o == flowed && s.Kernels.Flows(rows, f.t) {
		flow = s.flow()
	}
	arrivals := s.Bytes(make([]byte, shaders.ArrivalsBytes(f.rowsOfW(), rows)))
	epilogue := s.Alloc(int(unsafe.Sizeof(shaders.Epilogue{})))
	parameters, dispatches, _ := shaders.Fused{
		Project: project, Ending: ending, Shrink: shrink, Slots: Place(s, f.batch.words()),
		Arrivals: address(arrivals), At: address(epilogue), Flow: flow.stage(),
	}.Dispatches(s.Kernels)
	if shrink == nil {
		flow.owe(s, &dispatches[0], nil)
	} else {
		flow.owe(s, &dispatches[1], &dispatches[0])
	}
	if s.err == nil {
		s.fail(s.device.Upload(epilogue, bytesOf([]shaders.Epilogue{parameters})))
	}
	if o == shrinkLast {
		slices.Reverse(dispatches)
	}
	limit := 0.0
	if f.lora && (s.Kernels.ShrinksHalves(f.t) || f.many() && s.Kernels.Panels(f.t)) {
		limit = productLimits[f.t]
	}
	if f.alone && s.Kernels.Panels(f.t) {
		limit = max(limit, productLimits[f.t])
	}
	return Run{Before: before, Dispatches: dispatches, Together: o == together || o == flowed, Limit: limit, Check: flow.andPaid(s, func() (float64, error) {
		counters, err := Read[byte](s, arrivals, int(arrivals.Size))
		if err != nil {
			return 0, err
		}
		if slices.ContainsFunc(counters, func(b byte) bool { return b != 0 }) {
			return math.Inf(1), nil
		}
		return check()
	})}
}

// end is what becomes of the outputs, and the check of it. in is where the kernel puts them.
func (f fusedShape) end(s *Setup, outputs reference.Matrix, d deltas, in output) (shaders.Ending, func() (float64, error)) {
	half := func(width int, normed bool) halved {
		if !s.Kernels.Panels(f.t) {
			return halved{} // who does not read halves does not write them
		}
		return s.halves(len(f.batch.slots), width, f.t, normed)
	}
	switch f.ending {
	case "residual":
		h := half(f.outputs, true)
		block := h.unit()
		if !f.fine {
			block = s.Kernels.FusedSquares(len(f.batch.slots), f.outputs, f.t)
		}
		op, check := s.residual(f.batch, outputs, d, block, h)
		op.Fine = f.fine
		return op, check
	case "silu_mul":
		h := half(f.outputs, false)
		op, check := s.siluMul(f.batch, outputs.Slice(0, f.outputs), outputs.Slice(upRow(f.outputs), f.outputs), d, h)
		if f.alone && h.Halves != nil {
			op.Out = shaders.Rows{}
			gate, up := outputs.Slice(0, f.outputs), outputs.Slice(upRow(f.outputs), f.outputs)
			want := reference.SiluMul(gate, up, d.set.ofRows(f.batch.slots, 2), d.hidden, d.set.maxRank)
			check = func() (float64, error) { return h.compare(s, want, f.batch.skips) }
		}
		return op, check
	}
	op, stored, turned := s.ropeStore(f.batch, f.heads, outputs, d, f.t)
	return op, func() (float64, error) {
		queries, err := s.queries(f.batch, in, turned.Slice(0, f.heads.heads*f.heads.headDim))
		if err != nil {
			return 0, err
		}
		pages, err := stored()
		return max(queries, pages), err
	}
}

// queries compares the first columns of rows that the step has.
func (s *Setup) queries(batch tiled, in output, want reference.Matrix) (float64, error) {
	values, err := Read[float32](s, in.span, want.Rows*in.stride)
	if err != nil {
		return 0, err
	}
	var got []float32
	var wanted []float64
	for t, slot := range batch.slots {
		if slot != skipped {
			got = append(got, values[t*in.stride:][:want.Columns]...)
			wanted = append(wanted, want.Row(t)...)
		}
	}
	return RelativeError(got, wanted), nil
}

// words is the slots as kernels read them.
func (b tiled) words() []uint32 {
	var out []uint32
	for _, slot := range b.slots {
		switch slot {
		case base:
			out = append(out, shaders.BaseSlot)
		case skipped:
			out = append(out, shaders.NoRow)
		default:
			out = append(out, uint32(slot))
		}
	}
	return out
}
