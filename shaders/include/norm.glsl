// RMS norm from partial sums: whoever writes the residual stream also writes, per row and block of columns, the sum
// of squares; a reader folds them into one factor.
#ifndef NORM_GLSL
#define NORM_GLSL

#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "weights.glsl"

const uint NORM_LEAVES = 8; // sums of a row that are folded in the end
const uint NORM_FOURS = 4;  // loads of a leaf that are on their way together

// The four-th four of a row's parts; past the last part, zeros.
vec4 fourParts(uint64_t squares, uint row, uint parts, uint four) {
    const uint first = four * 4;
    if (parts % 4 == 0) {
        return first < parts ? Floats4(squares).at[(row * parts + first) >> 2] : vec4(0.0);
    }
    vec4 v = vec4(0.0);
    [[unroll]] for (uint i = 0; i < 4; i++) {
        if (first + i < parts) {
            v[i] = Floats(squares).at[row * parts + first + i];
        }
    }
    return v;
}

// The sum of every NORM_LEAVES-th four of a row's parts.
float leafOf(uint64_t squares, uint row, uint parts, uint leaf) {
    vec4 sum = vec4(0.0);
    [[dont_unroll]] for (uint four = leaf; four * 4 < parts; four += NORM_LEAVES * NORM_FOURS) {
        vec4 v[NORM_FOURS];
        [[unroll]] for (uint i = 0; i < NORM_FOURS; i++) {
            v[i] = fourParts(squares, row, parts, four + i * NORM_LEAVES);
        }
        [[unroll]] for (uint i = 0; i < NORM_FOURS; i++) {
            sum += v[i];
        }
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}

// 1 / sqrt(mean of squares + eps) of one row. squares is fp32 [row][parts]. So many neighbouring lanes, a power of two up to
// NORM_LEAVES, call it together. However many they are, the leaves l are folded as ((l0 + l4) + (l2 + l6)) + ((l1 + l5) + (l3 + l7)), so
// the bits of a row's factor do not depend on what else runs.
float inverseNorm(uint64_t squares, uint row, uint parts, uint width, float eps, uint lane, uint lanes) {
    float leaves[NORM_LEAVES];
    [[unroll]] for (uint i = 0; i < NORM_LEAVES / lanes; i++) {
        leaves[i] = leafOf(squares, row, parts, lane + i * lanes);
    }
    for (uint count = NORM_LEAVES / lanes; count > 1; count /= 2) {
        for (uint i = 0; i < count / 2; i++) {
            leaves[i] += leaves[i + count / 2];
        }
    }
    float total = leaves[0];
    for (uint distance = lanes / 2; distance > 0; distance /= 2) {
        total += subgroupShuffleXor(total, distance);
    }
    return inversesqrt(total / float(width) + eps);
}

#endif
