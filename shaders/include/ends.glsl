// The formulas that end a projection, for kernels of their own and for those that end their own outputs. What is precise
// here has the same bits in every kernel, whatever its compiler would contract.
#ifndef ENDS_GLSL
#define ENDS_GLSL

#include "pages.glsl"
#include "weights.glsl"

// silu(gate) * up.
vec4 siluMul(vec4 gate, vec4 up) {
    precise vec4 result = gate / (1.0 + exp(-gate)) * up;
    return result;
}

// Turns columns i (lo) and i + D/2 (hi) of a head.
Eight rotate(Eight v, vec4 cosine, vec4 sine) {
    precise vec4 lo = v.lo * cosine - v.hi * sine;
    precise vec4 hi = v.hi * cosine + v.lo * sine;
    return Eight(lo, hi);
}

// v with zeros in the columns from width on; column is that of v.x.
vec4 clip(vec4 v, uint column, uint width) {
    return mix(vec4(0.0), v, lessThan(column + uvec4(0, 1, 2, 3), uvec4(width)));
}

// The sum of eight squares, in one order.
float squares8(Eight v) {
    float sum = 0.0;
    for (uint i = 0; i < 4; i++) {
        sum = fma(v.lo[i], v.lo[i], sum);
    }
    for (uint i = 0; i < 4; i++) {
        sum = fma(v.hi[i], v.hi[i], sum);
    }
    return sum;
}

// The page of one position. line is the lane's line of the page table.
uint pageOf(uint64_t line, uint position) { return Uints(line).at[position / PAGE_TOKENS]; }

// Where a page keeps a layer's keys and values.
uint64_t layerIn(uint page, uint64_t pool, uint pageBytes, uint layerOffset) { return pool + uint64_t(page) * pageBytes + layerOffset; }

// Where the page of a position keeps a layer's keys and values.
uint64_t layerOf(uint64_t line, uint position, uint64_t pool, uint pageBytes, uint layerOffset) {
    return layerIn(pageOf(line, position), pool, pageBytes, layerOffset);
}

// The element of that stretch where a head's row for the position begins; head counts the keys', then the values'.
uint elementOf(uint head, uint position, uint headDim) {
    return (head * PAGE_TOKENS + position % PAGE_TOKENS) * headDim;
}

#endif
