// For modules with Vulkan's memory model: what crosses workgroups through references that are not coherent, but nonprivate, so that the
// multiprocessor's cache keeps what is read.
#ifndef MEET_ALL_GLSL
#define MEET_ALL_GLSL

#include "flow.glsl"

// A barrier of the workgroup behind which every invocation sees what was written on the device before another of them looked, and
// the device may see what they wrote.
void meetAll() {
    controlBarrier(gl_ScopeWorkgroup, gl_ScopeDevice, gl_StorageSemanticsBuffer | gl_StorageSemanticsShared,
                   gl_SemanticsAcquireRelease | gl_SemanticsMakeAvailable | gl_SemanticsMakeVisible);
}

#endif
