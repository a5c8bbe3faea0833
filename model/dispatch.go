package model

import (
	"math"
	"unsafe"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/shaders"
)

// projection is y[row] = W · x[row], with x normalised first where norm is set
// and rows taken through the gather list where one is given.
type projection struct {
	label   string
	grid    grid // of a layer's
	w       shaders.Matrix
	x, y    shaders.Rows
	half    *shaders.Halves // x as halves, or nil
	in, out int
	norm    *shaders.Norm
	gather  uint64
}

func (f *forward) project(p projection) shaders.Project {
	project := shaders.Project{
		W: p.w, X: p.x, Y: p.y, In: p.in, Out: p.out, Tokens: f.key.rows, Norm: p.norm, Gather: p.gather, Parts: f.activations.parts,
	}
	if p.half != nil {
		project.Half = *p.half
	}
	return project
}

// half is halves with the gamma of the norm that they go through, 0 for none;
// nil where projections read none.
func (f *forward) half(h shaders.Halves, gamma uint64) *shaders.Halves {
	if h.Address == 0 {
		return nil
	}
	h.Gamma = gamma
	return &h
}

// halfAfter is the halves that a layer leaves for who comes next.
func (f *forward) halfAfter(layer int) *shaders.Halves {
	norm := &f.weights.finalNorm
	if layer < f.shape.Layers-1 {
		norm = &f.weights.layers[layer+1].attentionNorm
	}
	return f.half(f.activations.halfX, norm.Weight)
}

// gather is the rows that want logits.
func (f *forward) gather() uint64 { return address(f.block.buffer, f.block.gather) }

// gatherHalves takes the rows that want logits.
func (f *forward) gatherHalves(h shaders.Halves) *compute.Dispatch {
	d := shaders.PackRows{
		X: f.rows.x, Gather: f.gather(), Halves: h, Type: f.shape.Type, Count: f.key.rows,
	}.Dispatch(f.kernels)
	return &d
}

// shrinkage is A·x of consecutive sites, whose input is a projection's.
type shrinkage struct {
	sites []lora.Site
	grid  grid
}

// ending is what becomes of a projection's outputs, and how large its grid is
// as a stage of its own.
type ending struct {
	label string
	op    interface {
		shaders.Ending
		Dispatch(*shaders.Kernels) compute.Dispatch
	}
	grid grid
}

// projected appends a projection, the shrink of its input, and its ending: one
// stage where the projection ends its outputs, with the shrink in one before
// where it has to be; else two, the shrink beside the projection.
func (f *forward) projected(layer int, p projection, s shrinkage, e ending) {
	project, shrink := f.project(p), f.shrink(layer, p, s)
	if !f.fused() {
		// The shrink comes last: workgroups that began beside it would find the multiprocessor's memory divided for the shrink, with room
		// for half as many of them, until the last one is done.
		product, tiling := project.Tiled(f.kernels)
		f.tilings[p.grid-gridQKV] = tiling
		f.stage(p.label, labelled(p.label, *f.varying(product, p.grid)), f.shrinkDispatch(shrink, s))
		f.stage(e.label, f.varying(e.op.Dispatch(f.kernels), e.grid))
		return
	}
	product := p.grid - gridQKV
	before := f.kernels.ShrinksBefore(f.shape.Type, f.flow != nil)
	epilogue, dispatches, tiling := shaders.Fused{
		Project: project, Ending: e.op, Shrink: shrink,
		Slots: f.slots, Arrivals: f.activations.arrivals,
		Flow: f.flowOf(layer, productFlow[product]),
		At:   f.epiloguesAt + uint64(len(f.epilogues))*uint64(unsafe.Sizeof(shaders.Epilogue{})),
	}.Dispatches(f.kernels)
	f.epilogues = append(f.epilogues, epilogue)
	projection := labelled(p.label+" + "+e.label, dispatches[len(dispatches)-1])
	f.owed[product] = projection.Groups[0]
	var beside *compute.Dispatch
	if shrink != nil {
		beside = f.varying(dispatches[0], s.grid)
	}
	if before { // no counters: the grid may follow the step's rows
		f.tilings[product], projection = tiling, f.varying(*projection, p.grid)
		if beside != nil {
			f.stage(p.label+" shrink", beside)
			beside = nil
		}
	}
	f.stage(p.label, beside, projection)
	f.last().Flows = f.flows(layer, productFlow[product]) && !tiling.Large()
}

func labelled(label string, d compute.Dispatch) *compute.Dispatch {
	d.Label = label
	return &d
}

// fused says whether the program's projections end their own outputs.
func (f *forward) fused() bool {
	return f.kernels.Fuses(f.key.rows, f.shape.HeadDim, f.shape.Type, f.key.adapters)
}

// norm is a norm as its readers in this program find it: who adds to the
// residual stream sums squares by larger blocks where many rows run, except
// before the head, which reads what bodies and tails of every kind leave.
func (f *forward) norm(n shaders.Norm, embedded bool) shaders.Norm {
	n.Squares = f.rows.squares
	switch {
	case embedded:
	case f.fused():
		n.Parts = squareParts(n.Width, f.kernels.FusedSquares(f.key.rows, n.Width, f.shape.Type))
	default:
		n.Parts = squareParts(n.Width, shaders.SquaresBlock)
	}
	return n
}

func (f *forward) embed() *compute.Dispatch {
	a := &f.activations
	d := shaders.Embed{
		Table: f.weights.embedding, Tokens: address(f.block.buffer, f.block.tokens), LastTokens: f.lastTokens.Address(),
		X: f.rows.x, Squares: f.rows.squares, Width: f.shape.Hidden, Half: f.half(a.halfX, f.weights.layers[0].attentionNorm.Weight), Lora: f.embedDelta(), Flow: f.flow, Count: f.key.rows,
	}.Dispatch(f.kernels)
	return f.varying(d, gridEmbed)
}

// embedDelta is nil in a program without adapters of the embedding.
func (f *forward) embedDelta() *shaders.EmbedDelta {
	if !f.key.adapters || !f.adapters.Targets[lora.EmbedTokens] {
		return nil
	}
	return &shaders.EmbedDelta{
		Slots: f.slots, Table: f.adapters.Table, SitesPerSlot: f.adapters.SitesPerSlot,
		Site: f.shape.Sites().Index(0, lora.EmbedTokens), Vocabulary: f.shape.Vocab,
	}
}

// shrink computes A·x beside a projection; nil in a program without adapters.
func (f *forward) shrink(layer int, p projection, s shrinkage) *shaders.Shrink {
	if !f.key.adapters {
		return nil
	}
	return &shaders.Shrink{
		Tiles: f.tiles, Table: f.adapters.Table, SitesPerSlot: f.adapters.SitesPerSlot,
		FirstSite: siteIndex(layer, s.sites[0]), Sites: len(s.sites), X: p.x, Half: p.half, In: p.in, Norm: p.norm,
		Hidden: f.activations.hidden, MaxRank: f.adapters.MaxRank, Type: f.shape.Type, Beside: !f.fused(), Slices: f.slices(len(s.sites)),
		Count: f.key.rows,
	}
}

func (f *forward) shrinkDispatch(shrink *shaders.Shrink, s shrinkage) *compute.Dispatch {
	if shrink == nil {
		return nil
	}
	return f.varying(shrink.Dispatch(f.kernels), s.grid)
}

// delta says where to find the expand of a layer's sites; nil in a program
// without adapters.
func (f *forward) delta(layer int, first lora.Site) *shaders.SiteDelta {
	if !f.key.adapters {
		return nil
	}
	return &shaders.SiteDelta{
		Table: f.adapters.Table, SitesPerSlot: f.adapters.SitesPerSlot, FirstSite: siteIndex(layer, first),
		Hidden: f.activations.hidden, MaxRank: f.adapters.MaxRank,
	}
}

// slices is in how many parts a shrink of so many sites leaves its products.
func (f *forward) slices(sites int) int {
	if f.fused() {
		return 1
	}
	return f.kernels.ShrinkSlices(f.shape.Type, sites)
}

func siteIndex(layer int, s lora.Site) int { return layer*int(lora.Sites) + int(s) }

// shrinkHead computes A·norm(x) of the rows that want logits; nil in a program
// without adapters of the head.
func (f *forward) shrinkHead(p projection) *compute.Dispatch {
	if !f.key.headAdapters {
		return nil
	}
	d := shaders.Shrink{
		Tiles: address(f.block.buffer, f.block.logitTiles), Table: f.adapters.Table, SitesPerSlot: f.adapters.SitesPerSlot,
		FirstSite: f.shape.Sites().Index(0, lora.LMHead), Sites: 1, X: p.x, Half: p.half, In: p.in, Norm: p.norm, Gather: p.gather, Beside: true,
		Hidden: f.activations.hidden, MaxRank: f.adapters.MaxRank, Type: f.shape.Type, Count: f.key.rows,
	}.Dispatch(f.kernels)
	return f.varying(d, gridShrinkHead)
}

// expandHead adds what adapters of the head change to the logits.
func (f *forward) expandHead() *compute.Dispatch {
	d := shaders.Expand{
		Y: f.activations.logits, Width: f.shape.Vocab, Tiles: address(f.block.buffer, f.block.logitTiles),
		Lora: shaders.SiteDelta{
			Table: f.adapters.Table, SitesPerSlot: f.adapters.SitesPerSlot, FirstSite: f.shape.Sites().Index(0, lora.LMHead),
			Hidden: f.activations.hidden, MaxRank: f.adapters.MaxRank,
		},
		Type: f.shape.Type, Count: f.key.rows,
	}.Dispatch(f.kernels)
	return f.varying(d, gridExpandHead)
}

// varying makes the step block decide the size of a dispatch.
func (f *forward) varying(d compute.Dispatch, g grid) *compute.Dispatch {
	d.Indirect = f.block.indirect(f.key.grid(g))
	return &d
}

func (f *forward) ropeStore(layer int) shaders.RopeStore {
	s := &f.shape
	return shaders.RopeStore{
		QKV:       f.activations.qkv,
		Positions: address(f.block.buffer, f.block.positions), Lanes: address(f.block.buffer, f.block.lanes),
		Tiles: f.tiles, PageTable: f.pageBuffer.Address(), MaxPages: f.pagesPerLane,
		Pool: f.pool.base, PageBytes: pageUnit, LayerOffset: s.layerOffset(layer),
		Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim, Rope: f.weights.rope.Address(),
		Lora: f.delta(layer, lora.Q), Type: s.Type, Count: f.key.rows,
	}
}

func (f *forward) attendDecode(layer int) *compute.Dispatch {
	s, a := &f.shape, &f.activations
	d := shaders.AttendDecode{
		QKV: a.qkv, Out: f.rows.attended, Half: f.half(f.rows.halfAttended, 0), Items: address(f.block.buffer, f.block.decodes),
		PageTable: f.pageBuffer.Address(), MaxPages: f.pagesPerLane,
		Pool: f.pool.base, PageBytes: pageUnit, LayerOffset: s.layerOffset(layer),
		Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim,
		Scratch: a.scratch, Counters: a.counters, Flow: f.flowOf(layer, flowAttend), Scale: f.attentionScale(), Type: s.Type, Count: f.key.rows,
	}.Dispatch(f.kernels)
	return f.varying(d, gridAttendDecode)
}

// attendPrefill is nil in programs whose rows all go through attendDecode.
func (f *forward) attendPrefill(layer int) *compute.Dispatch {
	if f.key.part == decodeBody || f.rowwise() {
		return nil
	}
	s, a := &f.shape, &f.activations
	d := shaders.AttendPrefill{
		QKV: a.qkv, Out: f.rows.attended, Half: f.half(f.rows.halfAttended, 0), Items: address(f.block.buffer, f.block.prefills),
		PageTable: f.pageBuffer.Address(), MaxPages: f.pagesPerLane,
		Pool: f.pool.base, PageBytes: pageUnit, LayerOffset: s.layerOffset(layer),
		Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim,
		Scale: f.attentionScale(), Type: s.Type, Count: f.key.rows,
	}.Dispatch(f.kernels)
	return f.varying(d, gridAttendPrefill)
}

func (f *forward) attentionScale() float32 {
	return float32(1 / math.Sqrt(float64(f.shape.HeadDim)))
}

// residual adds a projection, and its adapters' delta, to the residual stream
// and prepares the sums of squares of the next norm, which the head reads behind
// the last layer.
func (f *forward) residual(layer int, site lora.Site, half *shaders.Halves, last bool) shaders.Residual {
	a := &f.activations
	return shaders.Residual{
		X: f.rows.x, Y: a.y, Half: half, Squares: f.rows.squares, Fine: last,
		Width: f.shape.Hidden, Tiles: f.tiles, Lora: f.delta(layer, site), Slices: f.slices(1), Type: f.shape.Type, Count: f.key.rows,
	}
}

func (f *forward) siluMul(layer int) shaders.SiluMul {
	a := &f.activations
	return shaders.SiluMul{
		GateUp: a.gateUp, UpOffset: f.shape.upRow(), Out: a.inner, Half: f.half(a.halfInner, 0), Inner: f.shape.Inner, Tiles: f.tiles,
		Lora: f.delta(layer, lora.Gate), Type: f.shape.Type, Count: f.key.rows,
	}
}

func (f *forward) adjust() *compute.Dispatch {
	b := f.block
	d := shaders.Adjust{
		Logits: f.activations.logits, Rows: address(b.buffer, b.adjusted), Adjustments: address(b.buffer, b.adjustments), Count: f.key.rows,
	}.Dispatch(f.kernels)
	return f.varying(d, gridSample)
}

func (f *forward) sample() *compute.Dispatch {
	b := f.block
	d := shaders.Sample{
		Logits: f.activations.logits, Vocab: f.shape.Vocab, Count: f.key.rows,
		Params: address(b.buffer, b.samples), Ids: address(b.buffer, b.ids),
		Results: address(b.answers, b.results), TopOut: address(b.answers, b.top), IdsOut: address(b.answers, b.idScores),
		LastTokens: f.lastTokens.Address(),
	}.Dispatch(f.kernels)
	return f.varying(d, gridSample)
}
