// Fills memory with uniform values of a given standard deviation from a hash of (seed, index): weights for runs that
// need none in particular. An invocation has eight elements at a time; the grid strides over the rest.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#include "include/weights.glsl"

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint64_t target; // TYPE, written
    uint64_t count;  // elements; the last eight are filled up with zeros
    uint seed;
    float width; // of the interval, which is centred at zero
} push;

// Two rounds of xor-shift and multiply; every input bit reaches every output bit.
uint scramble(uint v) {
    v ^= v >> 16;
    v *= 0x7feb352du;
    v ^= v >> 15;
    v *= 0x846ca68bu;
    return v ^ (v >> 16);
}

// The i-th element of a block: 23 random bits, so that every step is exact until the last product.
float element(uint key, uint64_t block, uint i) {
    if (block * 8 + i >= push.count) {
        return 0.0;
    }
    uint bits = scramble(key + i * 0x9e3779b9u);
    return ((float(bits >> 9) + 0.5) * (1.0 / 8388608.0) - 0.5) * push.width;
}

void main() {
    uint64_t blocks = (push.count + 7) / 8;
    uint64_t step = uint64_t(gl_NumWorkGroups.x) * gl_WorkGroupSize.x;
    for (uint64_t block = gl_GlobalInvocationID.x; block < blocks; block += step) {
        uint key = scramble(uint(block) ^ scramble(push.seed));
        vec4 v[2];
        [[unroll]] for (uint i = 0; i < 8; i++) {
            v[i / 4][i % 4] = element(key, block, i);
        }
        store8(push.target + block * (8 * typeSize()), 0, Eight(v[0], v[1]));
    }
}
