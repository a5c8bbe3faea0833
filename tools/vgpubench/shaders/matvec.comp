// y = W x in fp32: the source is W, row after row as long as x, and the target begins with y. A workgroup makes one element
// of y at a time.
#version 460

layout(local_size_x = 256) in;

layout(set = 0, binding = 0) readonly buffer Source { vec4 weights[]; };
layout(set = 0, binding = 1) writeonly buffer Target { float y[]; };
layout(set = 0, binding = 2) readonly buffer Vector { vec4 x[]; };

shared float sums[gl_WorkGroupSize.x];

void main() {
    uint lane = gl_LocalInvocationID.x, columns = x.length(), rows = weights.length() / columns;
    for (uint row = gl_WorkGroupID.x; row < rows; row += gl_NumWorkGroups.x) {
        float sum = 0;
        for (uint i = lane; i < columns; i += gl_WorkGroupSize.x) {
            sum += dot(weights[row * columns + i], x[i]);
        }
        sums[lane] = sum;
        barrier();
        for (uint stride = gl_WorkGroupSize.x / 2; stride > 0; stride /= 2) {
            if (lane < stride) {
                sums[lane] += sums[lane + stride];
            }
            barrier();
        }
        if (lane == 0) {
            y[row] = sums[0];
        }
        barrier();
    }
}
