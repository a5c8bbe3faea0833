package model

import (
	"math"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/shaders"
)

// projection is y[row] = W · x[row], with x normalised first where norm is set
// and rows taken through the gather list where one is given.
type projection struct {
	label   string
	w       shaders.Matrix
	x, y    shaders.Rows
	in, out int
	norm    *shaders.Norm
	gather  uint64
}

func (f *forward) project(p projection) *compute.Dispatch {
	d := shaders.Project{
		W: p.w, X: p.x, Y: p.y, In: p.in, Out: p.out, Tokens: f.key.rows, Norm: p.norm, Gather: p.gather,
	}.Dispatch(f.kernels)
	d.Label = p.label
	return &d
}

func (f *forward) embed() *compute.Dispatch {
	a := &f.activations
	d := shaders.Embed{
		Table: f.weights.embedding, Tokens: address(f.block.buffer, f.block.tokens), LastTokens: f.lastTokens.Address(),
		X: a.x, Squares: a.squares, Width: f.shape.Hidden, Lora: f.embedDelta(), Count: f.key.rows,
	}.Dispatch(f.kernels)
	return f.varying(d, gridEmbed)
}

// embedDelta is nil in a program without adapters of the embedding.
func (f *forward) embedDelta() *shaders.EmbedDelta {
	if !f.key.adapters || !f.adapters.Targets[lora.EmbedTokens] {
		return nil
	}
	return &shaders.EmbedDelta{
		Slots: address(f.block.buffer, f.block.slots), Table: f.adapters.Table, SitesPerSlot: f.adapters.SitesPerSlot,
		Site: f.shape.Sites().Index(0, lora.EmbedTokens), Vocabulary: f.shape.Vocab,
	}
}

// shrink computes A·x of consecutive sites that read the same input; nil in a
// program without adapters.
func (f *forward) shrink(g grid, layer int, first lora.Site, sites int, x shaders.Rows, in int, norm *shaders.Norm) *compute.Dispatch {
	if !f.key.adapters {
		return nil
	}
	d := shaders.Shrink{
		Tiles: f.tiles(), Table: f.adapters.Table, SitesPerSlot: f.adapters.SitesPerSlot,
		FirstSite: siteIndex(layer, first), Sites: sites, X: x, In: in, Norm: norm,
		Hidden: f.activations.hidden, MaxRank: f.adapters.MaxRank, Type: f.shape.Type, Count: f.key.rows,
	}.Dispatch(f.kernels)
	return f.varying(d, g)
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

func siteIndex(layer int, s lora.Site) int { return layer*int(lora.Sites) + int(s) }

// shrinkHead computes A·norm(x) of the rows that want logits; nil in a program
// without adapters of the head.
func (f *forward) shrinkHead(gather uint64) *compute.Dispatch {
	if !f.key.adapters {
		return nil
	}
	d := shaders.Shrink{
		Tiles: address(f.block.buffer, f.block.headTiles), Table: f.adapters.Table, SitesPerSlot: f.adapters.SitesPerSlot,
		FirstSite: f.shape.Sites().Index(0, lora.LMHead), Sites: 1, X: f.activations.x, In: f.shape.Hidden,
		Norm: &f.weights.finalNorm, Gather: gather,
		Hidden: f.activations.hidden, MaxRank: f.adapters.MaxRank, Type: f.shape.Type, Count: f.key.rows,
	}.Dispatch(f.kernels)
	return f.varying(d, gridShrinkHead)
}

// expandHead adds what adapters of the head change to the logits.
func (f *forward) expandHead() *compute.Dispatch {
	d := shaders.Expand{
		Y: f.activations.logits, Width: f.shape.Vocab, Tiles: address(f.block.buffer, f.block.headTiles),
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
	d.Indirect = f.block.indirect(g)
	return &d
}

// tiles is where the step's row tiles are; adapter tiles come first.
func (f *forward) tiles() uint64 { return address(f.block.buffer, f.block.tiles) }

func (f *forward) ropeStore(layer int) *compute.Dispatch {
	s := &f.shape
	d := shaders.RopeStore{
		QKV:       f.activations.qkv,
		Positions: address(f.block.buffer, f.block.positions), Lanes: address(f.block.buffer, f.block.lanes),
		Tiles: f.tiles(), PageTable: f.pageBuffer.Address(), MaxPages: f.pagesPerLane,
		Pool: f.pool.base, PageBytes: pageUnit, LayerOffset: s.layerOffset(layer),
		Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim, Rope: f.weights.rope.Address(),
		Lora: f.delta(layer, lora.Q), Type: s.Type, Count: f.key.rows,
	}.Dispatch(f.kernels)
	return f.varying(d, gridRopeStore)
}

func (f *forward) attendDecode(layer int) *compute.Dispatch {
	s, a := &f.shape, &f.activations
	d := shaders.AttendDecode{
		QKV: a.qkv, Out: a.attended, Items: address(f.block.buffer, f.block.decodes),
		PageTable: f.pageBuffer.Address(), MaxPages: f.pagesPerLane,
		Pool: f.pool.base, PageBytes: pageUnit, LayerOffset: s.layerOffset(layer),
		Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim,
		Scratch: a.scratch, Counters: a.counters, Scale: f.attentionScale(), Type: s.Type, Count: f.key.rows,
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
		QKV: a.qkv, Out: a.attended, Items: address(f.block.buffer, f.block.prefills),
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

// residual adds the projection in y, and its adapters' delta, to the residual
// stream and prepares the next norm's sums of squares.
func (f *forward) residual(layer int, site lora.Site) *compute.Dispatch {
	a := &f.activations
	d := shaders.Residual{
		X: a.x, Y: a.y, Squares: a.squares, Width: f.shape.Hidden, Tiles: f.tiles(),
		Lora: f.delta(layer, site), Type: f.shape.Type, Count: f.key.rows,
	}.Dispatch(f.kernels)
	return f.varying(d, gridResidual)
}

func (f *forward) siluMul(layer int) *compute.Dispatch {
	a := &f.activations
	d := shaders.SiluMul{
		GateUp: a.gateUp, UpOffset: pad(f.shape.Inner), Out: a.inner, Inner: f.shape.Inner, Tiles: f.tiles(),
		Lora: f.delta(layer, lora.Gate), Type: f.shape.Type, Count: f.key.rows,
	}.Dispatch(f.kernels)
	return f.varying(d, gridSiluMul)
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
