package model

import "lorikeet/shaders"

// flowKind is a stage of a layer, in the order in which they follow each other
// where products end their own outputs.
type flowKind int

const (
	flowQKV flowKind = iota
	flowAttend
	flowO
	flowGateUp
	flowDown
	flowKinds
)

// productFlow are the stages of a layer's products, in the order of their grids.
var productFlow = [perLayer]flowKind{flowQKV, flowO, flowGateUp, flowDown}

// newFlow is the chain of the layers' stages, nil where barriers are between them.
func (f *forward) newFlow() *shaders.Flow {
	if !f.fused() || !f.kernels.Flows(f.key.rows, f.shape.Type) {
		return nil
	}
	return &shaders.Flow{
		Counters: f.activations.flow, Owed: address(f.block.buffer, f.block.owed),
		Stages: f.shape.Layers * int(flowKinds), Kinds: int(flowKinds),
	}
}

// flowOf is what the kernels of a layer's stage are told.
func (f *forward) flowOf(layer int, kind flowKind) uint64 {
	return f.flow.Stage(layer*int(flowKinds) + int(kind))
}

// flows says whether a stage may start without a barrier; one whose product is
// large has one nevertheless (see projected). The first one has none
// to wait for but embed, and a prompt's attention neither waits nor counts
// itself.
func (f *forward) flows(layer int, kind flowKind) bool {
	if f.flow == nil || layer == 0 && kind == flowQKV {
		return false
	}
	return f.key.part == decodeBody || kind != flowAttend && kind != flowO
}

// fillOwed writes how many workgroups each stage of a layer has, where they
// flow.
func (b *block) fillOwed(p *program) {
	if !p.flows {
		return
	}
	b.owed[flowAttend] = shaders.FlowOwed{Stage: b.workgroups[gridAttendDecode]}
	for i, kind := range productFlow {
		b.owed[kind] = shaders.FlowOwed{Stage: p.owed[i]}
		if p.key.adapters {
			b.owed[kind].Shrink = b.workgroups[gridShrinkQKV+grid(i)]
		}
	}
}
