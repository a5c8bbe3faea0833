package cases

import (
	"math"

	"lorikeet/compute"
	"lorikeet/shaders"
)

// flowing is a stage that flows: nobody is owed by the one before, and all that it owes itself it has to pay.
type flowing struct {
	shaders.Flow
	counters compute.Span
}

// flow begins one, or nothing where the device starts workgroups in any order.
func (s *Setup) flow() *flowing {
	if !s.device.Info().InOrder {
		return nil
	}
	counters := s.Alloc(int(shaders.FlowBytes(1)))
	return &flowing{shaders.Flow{Counters: address(counters), Stages: 1, Kinds: 1}, counters}
}

// stage is what the kernels are told, 0 of nothing.
func (f *flowing) stage() uint64 {
	if f == nil {
		return 0
	}
	return f.Stage(0)
}

// owe sets the counters to the workgroups of the stage's own dispatch and of its shrink, which may be nil.
func (f *flowing) owe(s *Setup, stage, shrink *compute.Dispatch) {
	if f == nil {
		return
	}
	count := func(d *compute.Dispatch) uint32 {
		if d == nil {
			return 0
		}
		return d.Groups[0] * d.Groups[1] * d.Groups[2]
	}
	words := make([]uint32, shaders.FlowBytes(1)/4)
	words[shaders.FlowStride] = count(stage)
	words[shaders.FlowStride+shaders.FlowShrink] = count(shrink)
	if s.err == nil {
		s.fail(s.device.Upload(f.counters, bytesOf(words)))
	}
}

// andPaid makes a check fail that leaves somebody owed.
func (f *flowing) andPaid(s *Setup, check func() (float64, error)) func() (float64, error) {
	if f == nil {
		return check
	}
	return func() (float64, error) {
		left, err := Read[uint32](s, f.counters, int(f.counters.Size/4))
		if err != nil {
			return 0, err
		}
		for _, n := range left {
			if n != 0 {
				return math.Inf(1), nil
			}
		}
		return check()
	}
}

// beginning is a flow of stages that a kernel begins.
type beginning struct {
	shaders.Flow
	counters compute.Span
	owed     []shaders.FlowOwed
}

func (s *Setup) beginning() beginning {
	const stages = 70 // more than a workgroup has invocations
	counters := s.Alloc(int(shaders.FlowBytes(stages)))
	owed := []shaders.FlowOwed{{Stage: s.Random.Uint32(), Shrink: 0}, {Stage: 1, Shrink: s.Random.Uint32()}, {Stage: 7, Shrink: 9}}
	return beginning{shaders.Flow{Counters: address(counters), Owed: Place(s, owed), Stages: stages, Kinds: len(owed)}, counters, owed}
}

// andBegun makes a check fail where a counter is not what its stage owes.
func (b beginning) andBegun(s *Setup, check func() (float64, error)) func() (float64, error) {
	return func() (float64, error) {
		got, err := Read[uint32](s, b.counters, int(b.counters.Size/4))
		if err != nil {
			return 0, err
		}
		wrong := got[0] != 0
		for stage := range b.Stages {
			at := (stage + 1) * shaders.FlowStride
			wrong = wrong || (shaders.FlowOwed{Stage: got[at], Shrink: got[at+shaders.FlowShrink]}) != b.owed[stage%b.Kinds]
		}
		if wrong {
			return math.Inf(1), nil
		}
		return check()
	}
}
