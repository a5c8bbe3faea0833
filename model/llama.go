package model

import (
	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/shaders"
)

// forward lists the stages of one program: what the GPU does for a given number
// of rows in a given regime, with or without adapters. Dispatches of one stage
// run together; each stage sees the results of all earlier ones.
type forward struct {
	*Llama
	block  *block
	key    programKey
	stages []compute.Stage

	rows         layerRows
	tiles, slots uint64 // of the rows, in the step block; adapter tiles come first

	epilogues   []shaders.Epilogue // of the fused projections so far
	epiloguesAt uint64             // where they will lie
	parameters  compute.Span       // the same, of a program that is recorded
	tilings     tilings
	owed        [perLayer]uint32 // workgroups of the projections, where stages flow
	flow        *shaders.Flow    // nil: barriers are between the stages
	layerStages int              // of the first layer, for Plan
}

// forward begins a program whose rows are the step's or, in a tail, the logit
// rows.
func (m *Llama) forward(key programKey) *forward {
	f := &forward{Llama: m, block: m.blocks[key.turn], key: key}
	b := f.block
	if key.part == tail {
		f.rows, f.tiles, f.slots = m.activations.tail, address(b.buffer, b.logitTiles), address(b.buffer, b.logitSlots)
	} else {
		f.rows, f.tiles, f.slots = m.activations.step, address(b.buffer, b.tiles), address(b.buffer, b.slots)
	}
	return f
}

// body is the forward pass up to the residual stream after the last layer, or
// to its attention where a tail ends it:
//
//	x = E[token], + scale · B(A[:,token]) under an adapter of the embedding
//	for each layer:
//	    x += O · attention(rope(Q·norm(x)), rope(K·norm(x)), V·norm(x))
//	    x += Down · (silu(Gate·norm(x)) ⊙ Up·norm(x))
//
// where every projection W·x of an adapted row is W·x + scale · B(A·x). A·x
// (shrink) reads what the base projection reads; B·(A·x) (expand) is added by who
// reads the projection's output anyway. With few rows that is the projection's
// own kernel, beside which the shrink runs, and which also rotates and stores,
// gates, or adds to x: five stages per layer. With more rows it is a stage
// behind, nine; by cooperative matrices, with many rows or without adapters, it is
// again the projection, behind a stage for the shrink: five, or nine with
// adapters. See projected and shaders.Kernels.Fuses.
//
// Where projections go by cooperative matrices, who writes their input also
// leaves it as halves, which is what they read.
func (f *forward) body() {
	f.flow = f.newFlow()
	f.stage("embed", f.embed())
	for l := range f.weights.layers {
		w := &f.weights.layers[l]
		f.beginLayer(l, w)
		if l < f.shape.Layers-1 || !f.key.leavesTail() {
			f.endLayer(l, w)
		}
		if l == 0 {
			f.layerStages = len(f.stages) - 1
		}
	}
}

// beginLayer lists qkv and attention.
func (f *forward) beginLayer(l int, w *layerWeights) {
	s, a := &f.shape, &f.activations
	attentionNorm := f.norm(w.attentionNorm, l == 0)
	qkv := projection{
		label: "qkv", grid: gridQKV, w: w.qkv, x: f.rows.x, half: f.half(a.halfX, w.attentionNorm.Weight), y: a.qkv,
		in: s.Hidden, out: s.QKV(), norm: &attentionNorm,
	}
	f.projected(l, qkv,
		shrinkage{sites: []lora.Site{lora.Q, lora.K, lora.V}, grid: gridShrinkQKV},
		ending{label: "rope_store", op: f.ropeStore(l), grid: gridRopeStore})
	f.stage("attend", f.attendDecode(l), f.attendPrefill(l))
	f.last().Flows = f.flows(l, flowAttend)
}

// endLayer lists the rest of a layer: o, gate, up and down.
func (f *forward) endLayer(l int, w *layerWeights) {
	s, a := &f.shape, &f.activations
	mlpNorm := f.norm(w.mlpNorm, false)
	o := projection{
		label: "o", grid: gridO, w: w.o, x: f.rows.attended, half: f.half(f.rows.halfAttended, 0), y: a.y,
		in: s.Heads * s.HeadDim, out: s.Hidden,
	}
	f.projected(l, o,
		shrinkage{sites: []lora.Site{lora.O}, grid: gridShrinkO},
		ending{label: "residual", op: f.residual(l, lora.O, f.half(a.halfX, w.mlpNorm.Weight), false), grid: gridResidual})
	gateUp := projection{
		label: "gate_up", grid: gridGateUp, w: w.gateUp, x: f.rows.x, half: f.half(a.halfX, w.mlpNorm.Weight), y: a.gateUp,
		in: s.Hidden, out: 2 * s.upRow(), norm: &mlpNorm,
	}
	f.projected(l, gateUp,
		shrinkage{sites: []lora.Site{lora.Gate, lora.Up}, grid: gridShrinkGateUp},
		ending{label: "silu_mul", op: f.siluMul(l), grid: gridSiluMul})
	down := projection{
		label: "down", grid: gridDown, w: w.down, x: a.inner, half: f.half(a.halfInner, 0), y: a.y,
		in: s.Inner, out: s.Hidden,
	}
	f.projected(l, down,
		shrinkage{sites: []lora.Site{lora.Down}, grid: gridShrinkDown},
		ending{label: "residual", op: f.residual(l, lora.Down, f.halfAfter(l), l == s.Layers-1), grid: gridResidual})
}

// head turns the rows that want logits into tokens: logits = W·norm(x), then
// one sampled or scored token per logit row. Sampling reads the logits several
// times, so the expand of adapters of the head has a stage of its own, in the
// program for batches that have such an adapter. A tail ends with it, and has
// just these rows.
func (f *forward) head() {
	s, a := &f.shape, &f.activations
	norm := f.weights.finalNorm
	norm.Squares = f.rows.squares
	p := projection{
		w: f.weights.head, x: f.rows.x, half: f.half(a.halfX, norm.Weight), y: a.logits, in: s.Hidden, out: s.Vocab, norm: &norm,
	}
	if f.key.part == head {
		p.gather = f.gather()
		if p.half = f.half(a.halfHead, norm.Weight); p.half != nil {
			f.stage("gather", f.gatherHalves(*p.half))
		}
	}
	f.stage("lm_head", f.shrinkHead(p), labelled("lm_head", f.project(p).Dispatch(f.kernels)))
	if f.key.headAdapters {
		f.stage("expand", f.expandHead())
	}
	if f.key.adjusts {
		f.stage("adjust", f.adjust())
	}
	f.stage("sample", f.sample())
}

// last is the stage that was appended last.
func (f *forward) last() *compute.Stage { return &f.stages[len(f.stages)-1] }

// stage appends a stage of the dispatches that this program has.
func (f *forward) stage(label string, dispatches ...*compute.Dispatch) {
	stage := compute.Stage{Label: label}
	for _, d := range dispatches {
		if d != nil {
			stage.Dispatches = append(stage.Dispatches, *d)
		}
	}
	f.stages = append(f.stages, stage)
}
