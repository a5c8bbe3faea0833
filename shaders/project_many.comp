// y[t,n] = inv(t) * sum_k W[n,k] * gamma[k] * x[row(t),k] for any number of rows t: a tiled matrix product in fp32.
//
// A workgroup computes a tile of TILE_T rows by TILE_N outputs, and each invocation EACH_T * EACH_N of them. Both
// operands pass through shared memory in slices of TILE_K columns, stored as they come (rows of four-element vectors
// along K): reading a vector gives four steps of K at once, so EACH_T + EACH_N loads feed 4 * EACH_T * EACH_N
// multiplications. The next slice is on its way to registers while the present one is used.
//
// Grid: {tiles of outputs, tiles of rows, 1}.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

const uint NORM_LANES = 1;
#include "include/norm.glsl"

layout(constant_id = 1) const uint EACH_T = 4; // a tile is 16 times as many rows
layout(constant_id = 2) const uint EACH_N = 4; // a tile is 16 times as many outputs
layout(constant_id = 3) const uint TILE_K = 16; // a multiple of 8
layout(constant_id = 4) const bool NORM = false; // x is normalised
layout(constant_id = 5) const bool GATHER = false; // rows of x are looked up

const uint SIDE = 16; // invocations along each edge of the tile
const uint THREADS = SIDE * SIDE;
layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint64_t w;       // TYPE [outputs][wStride]
    uint64_t x;       // fp32 [row][xStride]
    uint64_t y;       // fp32 [t][yStride]
    uint64_t gamma;   // TYPE [inputs]
    uint64_t squares; // fp32 [row][parts]
    uint64_t gather;  // uint32 [t], the row of each t, with GATHER
    uint wStride;
    uint xStride;
    uint yStride;
    uint inputs;
    uint outputs;
    uint tokens;
    uint parts;
    uint normWidth;
    float eps;
} push;

const uint TILE_T = SIDE * EACH_T;
const uint TILE_N = SIDE * EACH_N;
const uint VECTORS = TILE_K / 8;    // eight-element vectors of a slice's row
const uint LINE = TILE_K / 4 + 1;   // vec4 per row in shared memory; the odd one keeps banks apart
const uint LOADS_T = (TILE_T * VECTORS + THREADS - 1) / THREADS;
const uint LOADS_N = (TILE_N * VECTORS + THREADS - 1) / THREADS;

shared vec4 xTile[TILE_T * LINE];
shared vec4 wTile[TILE_N * LINE];
shared uint rows[TILE_T];
shared float inverse[TILE_T];

Eight nextX[LOADS_T];
Raw8 nextGamma[LOADS_T];
Raw8 nextW[LOADS_N];
float sums[EACH_T * EACH_N];

const Eight ZERO = Eight(vec4(0.0), vec4(0.0));

// Starts the loads of the slice of K that begins at column first. Columns past the end count as zero; rows past the
// end repeat the last one, and their results are not stored.
void fetch(uint first, uint thread) {
    const uint end = (push.inputs + 7) / 8 * 8;
    [[unroll]] for (uint i = 0; i < LOADS_T; i++) {
        uint v = i * THREADS + thread;
        uint k = first + v % VECTORS * 8;
        nextX[i] = ZERO;
        nextGamma[i] = Raw8(uvec4(0), uvec4(0));
        if (v < TILE_T * VECTORS && k < end) {
            nextX[i] = floats8(push.x + uint64_t(rows[v / VECTORS]) * push.xStride * 4, k);
            if (NORM) {
                nextGamma[i] = loadRaw8(push.gamma, k);
            }
        }
    }
    const uint n0 = gl_WorkGroupID.x * TILE_N;
    [[unroll]] for (uint i = 0; i < LOADS_N; i++) {
        uint v = i * THREADS + thread;
        uint k = first + v % VECTORS * 8;
        nextW[i] = Raw8(uvec4(0), uvec4(0));
        if (v < TILE_N * VECTORS && k < end) {
            uint n = min(n0 + v / VECTORS, push.outputs - 1);
            nextW[i] = loadRaw8(push.w + uint64_t(n) * push.wStride * typeSize(), k);
        }
    }
}

// Puts the slice that was fetched into shared memory.
void keep(uint thread) {
    [[unroll]] for (uint i = 0; i < LOADS_T; i++) {
        uint v = i * THREADS + thread;
        if (v < TILE_T * VECTORS) {
            uint at = v / VECTORS * LINE + v % VECTORS * 2;
            Eight x = nextX[i];
            if (NORM) {
                x = mul8(x, decode8(nextGamma[i]));
            }
            xTile[at] = x.lo;
            xTile[at + 1] = x.hi;
        }
    }
    [[unroll]] for (uint i = 0; i < LOADS_N; i++) {
        uint v = i * THREADS + thread;
        if (v < TILE_N * VECTORS) {
            Eight w = decode8(nextW[i]);
            uint at = v / VECTORS * LINE + v % VECTORS * 2;
            wTile[at] = w.lo;
            wTile[at + 1] = w.hi;
        }
    }
}

// Multiplies the slice in shared memory. An invocation's rows and outputs lie SIDE apart, so that neighbours read
// neighbouring lines.
void multiply(uint t, uint n) {
    [[unroll]] for (uint k = 0; k < TILE_K / 4; k++) {
        vec4 w[EACH_N];
        [[unroll]] for (uint j = 0; j < EACH_N; j++) {
            w[j] = wTile[(n + j * SIDE) * LINE + k];
        }
        [[unroll]] for (uint i = 0; i < EACH_T; i++) {
            vec4 x = xTile[(t + i * SIDE) * LINE + k];
            [[unroll]] for (uint j = 0; j < EACH_N; j++) {
                float s = sums[i * EACH_N + j];
                s = fma(x.x, w[j].x, s);
                s = fma(x.y, w[j].y, s);
                s = fma(x.z, w[j].z, s);
                s = fma(x.w, w[j].w, s);
                sums[i * EACH_N + j] = s;
            }
        }
    }
}

void main() {
    const uint thread = gl_LocalInvocationIndex;
    const uint t0 = gl_WorkGroupID.y * TILE_T;
    const uint n0 = gl_WorkGroupID.x * TILE_N;
    for (uint i = thread; i < TILE_T; i += THREADS) {
        uint t = min(t0 + i, push.tokens - 1);
        uint row = GATHER ? Uints(push.gather).at[t] : t;
        rows[i] = row;
        if (NORM) {
            inverse[i] = inverseNorm(push.squares, row, push.parts, push.normWidth, push.eps, 0);
        }
    }
    [[unroll]] for (uint i = 0; i < EACH_T * EACH_N; i++) {
        sums[i] = 0.0;
    }
    barrier();

    const uint t = thread / SIDE;
    const uint n = thread % SIDE;
    fetch(0, thread);
    for (uint k = 0; k < push.inputs; k += TILE_K) {
        keep(thread);
        barrier();
        fetch(k + TILE_K, thread);
        multiply(t, n);
        barrier();
    }

    [[unroll]] for (uint i = 0; i < EACH_T; i++) {
        [[unroll]] for (uint j = 0; j < EACH_N; j++) {
            uint token = t0 + t + i * SIDE;
            uint column = n0 + n + j * SIDE;
            if (token < push.tokens && column < (push.outputs + 7) / 8 * 8) {
                float scaled = sums[i * EACH_N + j] * (NORM ? inverse[t + i * SIDE] : 1.0);
                Floats(push.y).at[token * push.yStride + column] = column < push.outputs ? scaled : 0.0;
            }
        }
    }
}
