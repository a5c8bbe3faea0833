// Copies the source to the target as fast as it goes, sixteen bytes at a time, so that neighbours touch neighbouring
// memory; the grid strides over the rest.
#version 460

layout(local_size_x = 256) in;

layout(set = 0, binding = 0) readonly buffer Source { vec4 source[]; };
layout(set = 0, binding = 1) writeonly buffer Target { vec4 target[]; };

void main() {
    uint step = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < source.length(); i += step) {
        target[i] = source[i];
    }
}
