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

	epilogues   []shaders.Epilogue // of the fused projections so far
	epiloguesAt uint64             // where they will lie
	parameters  compute.Span       // the same, of a program that is recorded
	tilings     tilings
	owed        [perLayer]uint32 // workgroups of the projections, where stages flow
	flow        *shaders.Flow    // nil: barriers are between the stages
	layerStages int              // of the first layer
}

// body is the forward pass up to the residual stream after the last layer:
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
//
// With many rows the last layer ends with its attention: what is behind it
// concerns the rows that want logits alone, and is left to the tail.
func (f *forward) body() {
	f.flow = f.newFlow()
	f.stage("embed", f.embed())
	for l := range f.weights.layers {
		w := &f.weights.layers[l]
		f.attention(l, w)
		if l < f.shape.Layers-1 || !f.key.cut() {
			f.mlp(l, w)
		}
		if l == 0 {
			f.layerStages = len(f.stages) - 1
		}
	}
}

// attention is a layer up to what attention answers.
func (f *forward) attention(l int, w *layerWeights) {
	s, a := &f.shape, &f.activations
	attentionNorm := f.norm(w.attentionNorm, l == 0)
	qkv := projection{
		label: "qkv", grid: gridQKV, w: w.qkv, x: a.x, half: f.half(a.halfX, w.attentionNorm.Weight), y: a.qkv,
		in: s.Hidden, out: s.QKV(), norm: &attentionNorm,
	}
	f.projected(l, qkv,
		shrinkage{sites: []lora.Site{lora.Q, lora.K, lora.V}, grid: gridShrinkQKV},
		ending{label: "rope_store", op: f.ropeStore(l), grid: gridRopeStore})
	f.stage("attend", f.attendDecode(l), f.attendPrefill(l))
	f.last().Flows = f.flows(l, flowAttend)
}

// mlp is the rest of a layer: attention's projection and the gated one.
func (f *forward) mlp(l int, w *layerWeights) {
	s, a := &f.shape, &f.activations
	mlpNorm := f.norm(w.mlpNorm, false)
	attended, halfAttended := f.attended()
	o := projection{
		label: "o", grid: gridO, w: w.o, x: attended, half: f.half(halfAttended, 0), y: a.y,
		in: s.Heads * s.HeadDim, out: s.Hidden,
	}
	f.projected(l, o,
		shrinkage{sites: []lora.Site{lora.O}, grid: gridShrinkO},
		ending{label: "residual", op: f.residual(l, lora.O, f.half(a.halfX, w.mlpNorm.Weight), false), grid: gridResidual})
	gateUp := projection{
		label: "gate_up", grid: gridGateUp, w: w.gateUp, x: f.x(), half: f.half(a.halfX, w.mlpNorm.Weight), y: a.gateUp,
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
// program for batches that have such an adapter.
func (f *forward) head() {
	s, a := &f.shape, &f.activations
	half := f.half(a.halfHead, f.weights.finalNorm.Weight)
	if half != nil {
		f.stage("gather", f.gatherHalves(*half))
	}
	logits := f.project(projection{
		w: f.weights.head, x: a.x, half: half, y: a.logits, in: s.Hidden, out: s.Vocab,
		norm: &f.weights.finalNorm, gather: address(f.block.buffer, f.block.gather),
	})
	f.stage("lm_head", f.shrinkHead(logits.Gather, half), labelled("lm_head", logits.Dispatch(f.kernels)))
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
