// y[i] = SCALE * x[i] + offset
#version 460
#extension GL_EXT_buffer_reference : require

layout(local_size_x = 64) in;
layout(constant_id = 0) const uint SCALE = 1;

layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Input { uint x[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) writeonly buffer Output { uint y[]; };
layout(push_constant) uniform Push {
    Input x;
    Output y;
    uint offset;
    uint count;
};

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i < count)
        y.y[i] = SCALE * x.x[i] + offset;
}
