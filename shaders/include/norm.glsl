// RMS norm from partial sums: whoever writes the residual stream also writes, per row and block of columns, the sum
// of squares; a reader folds them into one factor.
#ifndef NORM_GLSL
#define NORM_GLSL

#extension GL_KHR_shader_subgroup_shuffle : require

#include "weights.glsl"

// 1 / sqrt(mean of squares + eps) of one row. squares is fp32 [row][parts]. So many neighbouring lanes, a power of two
// up to 8, call it together; each adds up its share of the parts in their order, and they fold these in one order.
float inverseNorm(uint64_t squares, uint row, uint parts, uint width, float eps, uint lane, uint lanes) {
    float total = 0.0;
    for (uint p = lane; p < parts; p += lanes) {
        total += Floats(squares).at[row * parts + p];
    }
    for (uint distance = lanes / 2; distance > 0; distance /= 2) {
        total += subgroupShuffleXor(total, distance);
    }
    return inversesqrt(total / float(width) + eps);
}

#endif
