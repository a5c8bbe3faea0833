// Copies memory as fast as it goes: the yardstick that other kernels' bandwidth is held against. Each invocation copies
// sixteen bytes at a time, so that neighbours touch neighbouring memory; the grid strides over the rest.
#version 460
#extension GL_GOOGLE_include_directive : require

#include "include/weights.glsl"

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint64_t source;
    uint64_t target;
    uint blocks; // of sixteen bytes
} push;

void main() {
    uint step = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint block = gl_GlobalInvocationID.x; block < push.blocks; block += step) {
        Uints4(push.target).at[block] = Uints4(push.source).at[block];
    }
}
