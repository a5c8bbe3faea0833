package model

import (
	"lorikeet/compute"
	"lorikeet/lora"
)

// forward lists the stages of one program: what the GPU does for a given number
// of rows in a given regime, with or without adapters. Dispatches of one stage
// run together; each stage sees the results of all earlier ones.
type forward struct {
	*Llama
	block  *block
	key    programKey
	stages []compute.Stage
}

// body is the forward pass up to the residual stream after the last layer:
//
//	x = E[token], + scale · B(A[:,token]) under an adapter of the embedding
//	for each layer:
//	    x += O · attention(rope(Q·norm(x)), rope(K·norm(x)), V·norm(x))
//	    x += Down · (silu(Gate·norm(x)) ⊙ Up·norm(x))
//
// where every projection W·x of an adapted row is W·x + scale · B(A·x). A·x
// (shrink) runs beside the base projection, since both read the same input;
// B·(A·x) (expand) and the residual addition are folded into the stage that
// reads the projection's output anyway, so adapters add no stage.
func (f *forward) body() {
	f.stage("embed", f.embed())
	for l := range f.weights.layers {
		f.layer(l, &f.weights.layers[l])
	}
}

func (f *forward) layer(l int, w *layerWeights) {
	s, a := &f.shape, &f.activations
	f.stage("qkv",
		f.project(projection{label: "qkv", w: w.qkv, x: a.x, y: a.qkv, in: s.Hidden, out: s.QKV(), norm: &w.attentionNorm}),
		f.shrink(gridShrinkQKV, l, lora.Q, 3, a.x, s.Hidden, &w.attentionNorm))
	f.stage("rope_store", f.ropeStore(l))
	f.stage("attend", f.attendDecode(l), f.attendPrefill(l))
	f.stage("o",
		f.project(projection{label: "o", w: w.o, x: a.attended, y: a.y, in: s.Heads * s.HeadDim, out: s.Hidden}),
		f.shrink(gridShrinkO, l, lora.O, 1, a.attended, s.Heads*s.HeadDim, nil))
	f.stage("residual", f.residual(l, lora.O))
	f.stage("gate_up",
		f.project(projection{label: "gate_up", w: w.gateUp, x: a.x, y: a.gateUp, in: s.Hidden, out: 2 * pad(s.Inner), norm: &w.mlpNorm}),
		f.shrink(gridShrinkGateUp, l, lora.Gate, 2, a.x, s.Hidden, &w.mlpNorm))
	f.stage("silu_mul", f.siluMul(l))
	f.stage("down",
		f.project(projection{label: "down", w: w.down, x: a.inner, y: a.y, in: s.Inner, out: s.Hidden}),
		f.shrink(gridShrinkDown, l, lora.Down, 1, a.inner, s.Inner, nil))
	f.stage("residual", f.residual(l, lora.Down))
}

// head turns the rows that want logits into tokens: logits = W·norm(x), then
// one sampled or scored token per logit row. Sampling reads the logits several
// times, so the expand of adapters of the head has a stage of its own, in the
// program for batches that have such an adapter.
func (f *forward) head() {
	s, a := &f.shape, &f.activations
	gather := address(f.block.buffer, f.block.gather)
	f.stage("lm_head",
		f.project(projection{
			label: "lm_head", w: f.weights.head, x: a.x, y: a.logits, in: s.Hidden, out: s.Vocab,
			norm: &f.weights.finalNorm, gather: gather,
		}),
		f.shrinkHead(gather))
	if f.key.adapters {
		f.stage("expand", f.expandHead())
	}
	f.stage("sample", f.sample())
}

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
