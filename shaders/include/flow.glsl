// Stages that follow each other without a barrier between: a kernel starts beside the stage before, begins to read what that does not
// write, and then waits for it. A stage has two counters: of the workgroups that it owes to the next stage, and of those that its shrink
// owes to the projection beside it. Those of the next stage are FLOW_STRIDE behind.
//
// It is for devices that start no workgroup of a dispatch before all of the dispatches before it: what is waited for runs then, or is
// done. What crosses stages goes through coherent references (LEFT in weights.glsl).
#ifndef FLOW_GLSL
#define FLOW_GLSL

#extension GL_KHR_memory_scope_semantics : require

#include "weights.glsl"

const uint FLOW_STRIDE = 32; // counters between those of two stages
const uint FLOW_SHRINK = 16; // from a stage's counter to its shrink's

layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer Owed { uint at[]; };

// A barrier of the workgroup that orders its buffer accesses, too.
void meet() {
    controlBarrier(gl_ScopeWorkgroup, gl_ScopeWorkgroup, gl_StorageSemanticsBuffer | gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
}

// Waits until nobody is owed any more. One invocation calls it; the others of its workgroup see what was waited for behind meet.
void awaitOwed(uint64_t flow, uint counter) {
    while (atomicLoad(Owed(flow).at[counter], gl_ScopeDevice, gl_StorageSemanticsBuffer, gl_SemanticsAcquire) != 0) {
    }
}

// Counts the workgroup, which calls it when it has written all it has to.
void payOwed(uint64_t flow, uint counter, uint thread) {
    meet();
    if (thread == 0) {
        memoryBarrierBuffer(); // what the atomic operation could say of other memory is not relied on
        atomicAdd(Owed(flow).at[counter], ~0u);
    }
}

// Waits for the stage before; flow is where its counter is. The whole workgroup calls it.
void awaitStage(uint64_t flow, uint thread) {
    if (thread == 0) {
        awaitOwed(flow, 0);
    }
    meet();
}

// Counts the workgroup as one of the stage behind that one.
void leaveStage(uint64_t flow, uint thread) { payOwed(flow, FLOW_STRIDE, thread); }

#endif
