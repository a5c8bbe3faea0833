// RMS norm from partial sums: whoever writes the residual stream also writes, per row and block of 256 columns, the
// sum of squares; a reader folds them into one factor.
#ifndef NORM_GLSL
#define NORM_GLSL

#include "weights.glsl"

// 1 / sqrt(mean of squares + eps) of one row. squares is fp32 [row][parts]; the sum runs in the order of the parts.
float inverseNorm(uint64_t squares, uint row, uint parts, uint width, float eps) {
    float total = 0.0;
    for (uint p = 0; p < parts; p++) {
        total += Floats(squares).at[row * parts + p];
    }
    return inversesqrt(total / float(width) + eps);
}

#endif
