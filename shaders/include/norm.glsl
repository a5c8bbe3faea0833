// RMS norm from partial sums: whoever writes the residual stream also writes, per row and block of columns, the sum
// of squares; a reader folds them into one factor. NORM_LANES neighbouring invocations do that for a row, a power of two up to NORM_LEAVES; who
// includes this says how many.
#ifndef NORM_GLSL
#define NORM_GLSL

#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "weights.glsl"

const uint NORM_LEAVES = 8;                              // sums of a row that are folded in the end
const uint NORM_EACH = NORM_LEAVES / NORM_LANES;         // of a lane
const uint NORM_FOURS = NORM_LANES < 4 ? NORM_LANES : 4; // of a leaf, on their way together
const uint NORM_SINGLY = 4;                              // fours that a lane loads together where the number of parts is no multiple of four

vec4 normSums[NORM_EACH];

// Adds up the lane's leaves out of fours of a row's parts. What there is not is loaded from anywhere: behind a condition loads would be
// waited for one by one. So would they in a loop whose bounds the compiler does not know when it unrolls, such as a function's parameters.
void addFours(uint64_t squares, uint row, uint parts, uint lane) {
    [[dont_unroll]] for (uint first = 0; first < parts; first += NORM_FOURS * NORM_LEAVES * 4) {
        vec4 v[NORM_FOURS * NORM_EACH];
        [[unroll]] for (uint i = 0; i < NORM_FOURS * NORM_EACH; i++) {
            v[i] = Floats4(squares).at[(row * parts + min(first + (lane + i * NORM_LANES) * 4, parts - 4)) >> 2];
        }
        [[unroll]] for (uint i = 0; i < NORM_FOURS * NORM_EACH; i++) {
            normSums[i % NORM_EACH] += first + (lane + i * NORM_LANES) * 4 < parts ? v[i] : vec4(0.0);
        }
    }
}

// The same where they are not in fours: every lane loads all of them, some at a time.
void addSingly(uint64_t squares, uint row, uint parts, uint lane) {
    [[dont_unroll]] for (uint first = 0; first < parts; first += 4 * NORM_SINGLY) {
        float v[4 * NORM_SINGLY];
        [[unroll]] for (uint i = 0; i < 4 * NORM_SINGLY; i++) {
            v[i] = Floats(squares).at[row * parts + min(first + i, parts - 1)];
        }
        [[unroll]] for (uint i = 0; i < NORM_SINGLY; i++) {
            const bvec4 some = lessThan(first + 4 * i + uvec4(0, 1, 2, 3), uvec4(parts));
            const vec4 four = mix(vec4(0.0), vec4(v[4 * i], v[4 * i + 1], v[4 * i + 2], v[4 * i + 3]), some);
            [[unroll]] for (uint j = 0; j < NORM_EACH; j++) {
                normSums[j] += (first / 4 + i) % NORM_LEAVES == lane + j * NORM_LANES ? four : vec4(0.0);
            }
        }
    }
}

// 1 / sqrt(mean of squares + eps) of one row, whose lanes call it together. squares is fp32 [row][parts]. A leaf is the sum of every
// NORM_LEAVES-th four of the parts. However many lanes there are, leaves are folded as ((l0 + l4) + (l2 + l6)) + ((l1 + l5) + (l3 + l7)), so
// the bits of a row's factor do not depend on what else runs.
float inverseNorm(uint64_t squares, uint row, uint parts, uint width, float eps, uint lane) {
    [[unroll]] for (uint i = 0; i < NORM_EACH; i++) {
        normSums[i] = vec4(0.0);
    }
    if (parts % 4 == 0) {
        addFours(squares, row, parts, lane);
    } else {
        addSingly(squares, row, parts, lane);
    }
    float leaves[NORM_EACH];
    [[unroll]] for (uint i = 0; i < NORM_EACH; i++) {
        leaves[i] = (normSums[i].x + normSums[i].y) + (normSums[i].z + normSums[i].w);
    }
    [[unroll]] for (uint count = NORM_EACH; count > 1; count /= 2) {
        [[unroll]] for (uint i = 0; i < count / 2; i++) {
            leaves[i] += leaves[i + count / 2];
        }
    }
    float total = leaves[0];
    [[unroll]] for (uint distance = NORM_LANES / 2; distance > 0; distance /= 2) {
        total += subgroupShuffleXor(total, distance);
    }
    return inversesqrt(total / float(width) + eps);
}

#endif
