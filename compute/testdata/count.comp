// Every workgroup adds one to the counter.
#version 460
#extension GL_EXT_buffer_reference : require

layout(local_size_x = 64) in;

layout(buffer_reference, std430, buffer_reference_align = 4) buffer Counter { uint n; };
layout(push_constant) uniform Push { Counter counter; };

void main() {
    if (gl_LocalInvocationIndex == 0)
        atomicAdd(counter.n, 1);
}
