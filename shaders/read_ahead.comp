// Reads memory for its own sake: what follows finds it in the device's cache. So that the loads are not idle, sums[i] is the
// exclusive or of the words of the i-th STRETCH of chunks.
// Grid: {stretches, 1, 1}.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require

#include "include/weights.glsl"

const uint THREADS = 256;
const uint LOADS = 8; // of an invocation, all on their way together
const uint STRETCH = THREADS * LOADS;
layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint64_t source; // uvec4 [chunks]
    uint64_t sums;   // uint32 [gl_WorkGroupID.x], written
    uint chunks;     // of sixteen bytes
} push;

shared uint total;

void main() {
    const uint thread = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    if (thread == 0) {
        total = 0;
    }
    barrier();
    uvec4 sum = uvec4(0);
    [[unroll]] for (uint i = 0; i < LOADS; i++) {
        const uint chunk = gl_WorkGroupID.x * STRETCH + i * THREADS + thread;
        if (chunk < push.chunks) {
            sum ^= Uints4(push.source).at[chunk];
        }
    }
    atomicXor(total, sum.x ^ sum.y ^ sum.z ^ sum.w);
    barrier();
    if (thread == 0) {
        Uints(push.sums).at[gl_WorkGroupID.x] = total;
    }
}
