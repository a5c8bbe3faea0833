package model

import (
	"fmt"

	"lorikeet/compute"
	"lorikeet/shaders"
)

// activations are the intermediate results of a step, fp32 [row][width].
type activations struct {
	arena  *compute.Arena
	step   layerRows    // [row]
	tail   layerRows    // [logit row]
	qkv    shaders.Rows // queries, keys and values; the queries rotated in place
	y      shaders.Rows // o and down projections, where they wait for the residual addition; [rowsApart]
	gateUp shaders.Rows // gate and up projections, where they wait for silu_mul; [rowsApart]
	inner  shaders.Rows // silu(gate) ⊙ up
	hidden shaders.Rows // shrink outputs, [row or logit row][MostSites·MaxRank]; some kernels leave 16 bits of each
	logits shaders.Rows // [logit row][vocab]

	// What projections by cooperative matrices read; without addresses where
	// there are none.
	halfX     shaders.Halves // gamma · x, of the norm that comes next
	halfInner shaders.Halves
	halfHead  shaders.Halves // [logit row]: gamma · x of the last norm

	scratch  uint64 // attention over split keys: partial results
	counters uint64 // and how many of a row's parts have arrived
	arrivals uint64 // who arrived at the tiles of fused projections
	flow     uint64 // counters of the stages that flow
	parts    shaders.Parts
}

// layerRows are what the two parts of a layer hand on, and the last layer to the
// head.
type layerRows struct {
	x            shaders.Rows   // residual stream
	squares      uint64         // partial sums of squares of x, [row][parts]; at most finestParts
	attended     shaders.Rows   // attention's output
	halfAttended shaders.Halves // the same as halves
}

func (m *Llama) allocateActivations() error {
	s, l := &m.shape, m.limits
	a := &m.activations
	a.arena = m.device.NewArena("activations", compute.Private, 16<<20)
	var err error
	alloc := func(bytes int64) uint64 {
		if err != nil {
			return 0
		}
		var span compute.Span
		if span, err = a.arena.Alloc(bytes); err != nil {
			return 0
		}
		// Columns beyond a width are read and must be zero.
		err = m.device.Fill(span, 0)
		return span.Address()
	}
	rows := func(n, width int) shaders.Rows {
		if n == 0 {
			return shaders.Rows{Stride: pad(width)}
		}
		return shaders.Rows{Address: alloc(int64(n) * int64(pad(width)) * 4), Stride: pad(width)}
	}
	halves := func(n, width int) shaders.Halves {
		if n == 0 || !m.kernels.Panels(s.Type) {
			return shaders.Halves{}
		}
		return shaders.Halves{Address: alloc(shaders.PanelsBytes(n, width)), Width: width}
	}
	a.halfX = halves(l.Rows, s.Hidden)
	a.halfInner = halves(l.Rows, s.Inner)
	a.halfHead = halves(l.Logits, s.Hidden)
	handedOn := func(n int) layerRows {
		r := layerRows{x: rows(n, s.Hidden), halfAttended: halves(n, s.Heads*s.HeadDim)}
		if n > 0 {
			r.squares = alloc(int64(n) * int64(m.finestParts()) * 4)
		}
		if m.readsRows() {
			r.attended = rows(n, s.Heads*s.HeadDim)
		}
		return r
	}
	a.step, a.tail = handedOn(l.Rows), handedOn(m.tailRows())
	a.qkv = rows(l.Rows, s.QKV())
	if m.readsRows() {
		a.inner = rows(l.Rows, s.Inner)
	}
	apart := m.rowsApart()
	a.y, a.gateUp = rows(apart, s.Hidden), rows(apart, 2*s.upRow())
	if m.adapters.enabled() {
		a.hidden = rows(max(l.Rows, l.Logits), shaders.MostSites*m.adapters.MaxRank)
	}
	if m.adapters.enabled() && !m.kernels.Panels(s.Type) {
		a.arrivals = alloc(shaders.ArrivalsBytes(max(s.QKV(), 2*s.upRow(), s.Hidden), l.Rows))
	}
	a.logits = rows(l.Logits, s.Vocab)
	a.scratch = alloc(shaders.AttendDecodeScratch(l.Lanes*maxSplits, s.Heads, s.HeadDim))
	a.flow = alloc(shaders.FlowBytes(s.Layers * int(flowKinds)))
	if info := m.device.Info(); info.InOrder && info.Multiprocessors > 0 && m.kernels.Panels(s.Type) {
		a.parts = shaders.Parts{Address: alloc(shaders.PartsBytes(info.Multiprocessors)), Multiprocessors: info.Multiprocessors}
	}
	a.counters = alloc(int64(l.Rows) * int64(s.KVHeads) * 4)
	if err == nil {
		m.lastTokens, err = m.device.Allocate(int64(l.Lanes)*4, compute.Local)
	}
	if err != nil {
		return fmt.Errorf("model: activations of %d rows; lower --chunked-prefill-size, --max-running-requests or --max-lora-rank: %w", l.Rows, err)
	}
	return nil
}

// finestParts is the most parts that the squares of a row of x are summed by.
func (m *Llama) finestParts() int {
	return squareParts(m.shape.Hidden, m.kernels.SquaresUnit(m.shape.Type))
}

// rowsApart is the most rows of a step whose projections leave their outputs to
// a stage behind, or to a shrink beside.
func (m *Llama) rowsApart() int {
	s := &m.shape
	if !m.kernels.Panels(s.Type) {
		return m.limits.Rows
	}
	for n := m.limits.Rows; n > 0; n-- {
		if !m.kernels.Fuses(n, s.HeadDim, s.Type, m.adapters.enabled()) {
			return n
		}
	}
	return 0
}

// readsRows says whether anybody reads the fp32 rows of what attention and the
// gated activation leave: where products take halves, at most a shrink that
// does not.
func (m *Llama) readsRows() bool {
	t := m.shape.Type
	return !m.kernels.Panels(t) || m.adapters.enabled() && !m.kernels.ShrinksHalves(t)
}

func (a *activations) release() {
	if a.arena != nil {
		a.arena.Close()
	}
}
