package model

import (
	"lorikeet/compute"
	"lorikeet/shaders"
)

// mostWhole is the most rows of a mixed program that runs the last layer for all
// of them: of so few a tail saves little.
const mostWhole = 192

// leavesTail says whether the body ends with the last layer's attention: only
// rows that want logits need the rest, which is the tail's.
func (k programKey) leavesTail() bool { return k.part == mixedBody && k.rows > mostWhole }

// tailRows is the most rows that a tail may have: logit rows, as many of them as
// what layers leave has room for. Where no body leaves a tail there are none.
func (m *Llama) tailRows() int {
	if m.limits.Rows <= mostWhole {
		return 0
	}
	return min(m.limits.Logits, m.limits.Rows)
}

// end is the program behind a body for so many logit rows: a head, or the tail
// that the body leaves.
func (m *Llama) end(body programKey, logits int, headAdapters, adjusts bool) programKey {
	k := programKey{part: head, turn: body.turn, headAdapters: headAdapters, adjusts: adjusts}
	if body.leavesTail() {
		k.part, k.adapters = tail, body.adapters
	}
	k.rows = bucket(m.buckets[k.part], logits)
	return k
}

// grid is where the step block has the size of a dispatch: a tail's lie behind
// its body's, since both run in one step.
func (k programKey) grid(g grid) grid {
	if k.part == tail {
		return g + grids
	}
	return g
}

// tail is what a body leaves out of the last layer, for the logit rows alone,
// and the head.
func (f *forward) tail() {
	last := f.shape.Layers - 1
	f.stage("gather", f.gatherRows()...)
	f.endLayer(last, &f.weights.layers[last])
	f.head()
}

// gatherRows copies what the last layer's begin hands on of the rows that want
// logits.
func (f *forward) gatherRows() []*compute.Dispatch {
	copied := func(g shaders.GatherRows) *compute.Dispatch {
		g.Gather, g.Count = f.gather(), f.key.rows
		d := g.Dispatch(f.kernels)
		return &d
	}
	from, to := &f.activations.step, &f.rows
	list := []*compute.Dispatch{copied(shaders.GatherRows{From: from.x, To: to.x})}
	if from.attended.Address != 0 {
		list = append(list, copied(shaders.GatherRows{From: from.attended, To: to.attended}))
	}
	if from.halfAttended.Address != 0 {
		list = append(list, copied(shaders.GatherRows{FromHalf: &from.halfAttended, ToHalf: &to.halfAttended}))
	}
	return list
}
