package shaders

// Flow is a chain of stages without barriers between: each waits by itself for the workgroups of the one before (include/flow.glsl).
// Embed begins it, behind a barrier, and its kinds of stages take turns.
type Flow struct {
	Counters uint64 // FlowBytes(Stages)
	Owed     uint64 // FlowOwed [Kinds]
	Stages   int
	Kinds    int
}

// FlowOwed is how many workgroups a stage has: those that it ends with, and those of the shrink beside them.
type FlowOwed struct{ Stage, Shrink uint32 }

// FlowBytes is the size of Flow.Counters for so many stages.
func FlowBytes(stages int) int64 { return 4 * FlowStride * int64(stages+1) }

// Stage is what the kernels of the i-th stage are told, 0 of no flow.
func (f *Flow) Stage(i int) uint64 {
	if f == nil {
		return 0
	}
	return f.Counters + 4*FlowStride*uint64(i)
}

// A multiprocessor of NVIDIA's divides its memory into shared memory and a cache when it has nothing to run: for as many workgroups of a kernel
// as its registers hold, in one of a few ways. Until it has nothing to run again, workgroups of other kernels have room in that division. So in
// stages that flow, one kernel for which it divides less off than for the next leaves room for few of that one's. See BENCHMARKS, Rows that
// subgroups share.
const (
	flowDivision = 64 << 10 // what is divided off for all of them
	lessDivision = 32 << 10 // the next smaller one
	ownMemory    = 1 << 10  // what the device takes of it for each workgroup
)

// Flows says whether stages of so many rows with weights of the type may flow, if products end their outputs: they are few, the device starts
// workgroups in the order of their dispatches, and the kernels for cooperative matrices run.
func (k *Kernels) Flows(rows int, t Type) bool {
	return rows <= mostFused && k.info.InOrder && k.Panels(t)
}
