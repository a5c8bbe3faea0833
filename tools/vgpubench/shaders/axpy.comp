// target += source / 4. A quarter is exact in floating point, so fused or not the sum rounds once, and a host can expect it
// bit by bit.
#version 460

layout(local_size_x = 256) in;

layout(set = 0, binding = 0) readonly buffer Source { vec4 source[]; };
layout(set = 0, binding = 1) buffer Target { vec4 target[]; };

void main() {
    uint step = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < source.length(); i += step) {
        target[i] += 0.25 * source[i];
    }
}
