// y[t,n] = inv(t) * sum_k W[n,k] * gamma[k] * x[row(t),k] by cooperative matrices: a subgroup multiplies blocks of
// SIZE_N outputs by SIZE_T rows over SIZE_K columns in hardware. gamma * x is rounded to ELEMENT, the type of the
// weights, and all sums are fp32. Before rounding, inv(t)'s power of two brings the row into the range of ELEMENT, which
// changes no bit of what is rounded; the rest of inv(t) multiplies the sums. The module says what ELEMENT is and how to
// pack two of them.
//
// A workgroup computes a tile of outputs by rows. Both operands pass through shared memory in slices of TILE_K
// columns, and the next DEPTH slices are on their way to registers while one is multiplied. Subgroups stand
// ACROSS_N by ACROSS_T over the tile, each with EACH_N by EACH_T blocks; SPLIT_K of them share every block and divide
// the columns of each slice. Few rows want a long TILE_K, which keeps enough bytes on their way, and a SPLIT_K that
// gives every subgroup work; many rows want a large tile, which reads either operand less often.
//
// Grid: {tiles of outputs * tiles of rows, 1, 1}. Tiles of the same outputs are neighbours, so that weights are read
// from memory once.
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require

layout(constant_id = 1) const uint THREADS = 256; // SUBGROUPS times the size of a subgroup, a multiple of TILE_K / 8
layout(constant_id = 2) const uint SIZE_N = 16;
layout(constant_id = 3) const uint SIZE_T = 16;
layout(constant_id = 4) const uint SIZE_K = 16;
layout(constant_id = 5) const uint EACH_N = 1;
layout(constant_id = 6) const uint EACH_T = 1;
layout(constant_id = 7) const uint ACROSS_N = 1;
layout(constant_id = 8) const uint ACROSS_T = 1;
layout(constant_id = 9) const uint SPLIT_K = 8;
layout(constant_id = 10) const uint TILE_K = 128; // a power of two, a multiple of SPLIT_K * SIZE_K
layout(constant_id = 11) const uint BUFFERS = 2;  // slices in shared memory: 1, or 2 for fewer barriers
layout(constant_id = 12) const uint DEPTH = 1;    // slices on their way, 1 to 4
layout(constant_id = 13) const bool NORM = false; // x is normalised
layout(constant_id = 14) const bool GATHER = false; // rows of x are looked up
layout(constant_id = 15) const uint ENDING = 0;   // what the kernel does with its outputs; see epilogue.glsl
layout(constant_id = 16) const bool LORA = false;
layout(constant_id = 17) const uint HEAD_DIM = 128;
layout(local_size_x_id = 1) in;

#include "ahead.glsl"
#include "norm.glsl"

layout(push_constant) uniform Push {
    uint64_t w;        // TYPE [outputs][wStride]
    uint64_t x;        // fp32 [row][xStride]
    uint64_t y;        // fp32 [t][yStride]
    uint64_t gamma;    // TYPE [inputs]
    uint64_t squares;  // fp32 [row][parts]
    uint64_t gather;   // uint32 [t], the row of each t, with GATHER
    uint64_t epilogue; // Epilogue [1]
    uint64_t slots;    // uint32 [t]: as the Epilogue's
    uint64_t arrivals; // uint32 [tile]: as the Epilogue's
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

const uint TEAMS = ACROSS_N * ACROSS_T;
const uint SUBGROUPS = TEAMS * SPLIT_K;
const uint TILE_N = ACROSS_N * EACH_N * SIZE_N;
const uint TILE_T = ACROSS_T * EACH_T * SIZE_T;
const uint VECTORS = TILE_K / 8;      // eight-element vectors of a slice's row
const uint LINE = VECTORS + 1;        // of a row in shared memory; the odd one keeps banks apart
const uint LINES = THREADS / VECTORS; // rows the workgroup loads at a time
const uint LOADS_N = (TILE_N + LINES - 1) / LINES;
const uint LOADS_T = (TILE_T + LINES - 1) / LINES;
const uint SLICE = (TILE_N + TILE_T) * LINE;
const uint PATCH = SIZE_N * SIZE_T / 4; // a block of sums, in vectors of four
const uint SLICES = BUFFERS * SLICE;
const uint EACH = EACH_N * EACH_T;
const bool WHOLE = SPLIT_K > 1 || ENDING != END_NONE; // all sums are in shared memory in the end, not one block per subgroup
const uint PATCHES = SUBGROUPS * PATCH * (WHOLE ? EACH : 1);
const uint WIDTH = SIZE_N / 4; // vectors of a patch's line, one line per row of y
const uint NORM_LANES = THREADS / TILE_T >= 8 ? 8 : THREADS / TILE_T >= 4 ? 4 : THREADS / TILE_T >= 2 ? 2 : 1; // per row

shared uvec4 pool[SLICES > PATCHES ? SLICES : PATCHES]; // slices, and in the end sums
shared float inverse[TILE_T];

uint slice = 0; // where in the pool the present slice is

uint64_t wRows[LOADS_N];
uint64_t xRows[LOADS_T];
float xScales[LOADS_T]; // powers of two
uvec4 nextW[DEPTH * LOADS_N];
Eight nextX[DEPTH * LOADS_T];
Raw8 nextGamma[DEPTH];
coopmat<float, gl_ScopeSubgroup, SIZE_N, SIZE_T, gl_MatrixUseAccumulator> sums[EACH];

// v = powerOfTwo(v) * mantissa(v), for positive v.
float powerOfTwo(float v) { return uintBitsToFloat(floatBitsToUint(v) & 0x7f800000u); }
float mantissa(float v) { return uintBitsToFloat(floatBitsToUint(v) & 0x007fffffu | 0x3f800000u); }

// The row of x for row t of y; rows past the end repeat the last one, and their results are not stored.
uint rowOf(uint t) {
    t = min(t, push.tokens - 1);
    return GATHER ? Uints(push.gather).at[t] : t;
}

// Starts the loads of the slice that begins at column first into a slot of the registers. Columns past the end count as zero.
void fetch(uint slot, uint first, uint thread) {
    const uint k = first + thread % VECTORS * 8;
    const uint line = thread / VECTORS;
    const bool inside = k < push.inputs;
    [[unroll]] for (uint i = 0; i < LOADS_N; i++) {
        nextW[slot * LOADS_N + i] = uvec4(0);
        if (inside && line + i * LINES < TILE_N) {
            nextW[slot * LOADS_N + i] = Uints4(wRows[i]).at[k >> 3];
        }
    }
    [[unroll]] for (uint i = 0; i < LOADS_T; i++) {
        nextX[slot * LOADS_T + i] = Eight(vec4(0.0), vec4(0.0));
        if (inside && line + i * LINES < TILE_T) {
            nextX[slot * LOADS_T + i] = floats8(xRows[i], k);
        }
    }
    if (NORM) {
        nextGamma[slot] = Raw8(uvec4(0), uvec4(0));
        if (inside) {
            nextGamma[slot] = loadRaw8(push.gamma, k);
        }
    }
}

// Puts the slice in a slot into shared memory: TILE_N rows of W, then TILE_T rows of x.
void keep(uint slot, uint thread) {
    const uint line = thread / VECTORS;
    const uint at = slice + line * LINE + thread % VECTORS;
    [[unroll]] for (uint i = 0; i < LOADS_N; i++) {
        if (line + i * LINES < TILE_N) {
            pool[at + i * LINES * LINE] = nextW[slot * LOADS_N + i];
        }
    }
    Eight gamma;
    if (NORM) {
        gamma = decode8(nextGamma[slot]);
    }
    [[unroll]] for (uint i = 0; i < LOADS_T; i++) {
        if (line + i * LINES < TILE_T) {
            Eight x = nextX[slot * LOADS_T + i];
            if (NORM) {
                x = mul8(x, gamma);
                x.lo *= xScales[i];
                x.hi *= xScales[i];
            }
            pool[at + (TILE_N + i * LINES) * LINE] = uvec4(packElements(x.lo.xy), packElements(x.lo.zw),
                                                           packElements(x.hi.xy), packElements(x.hi.zw));
        }
    }
}

// Multiplies the subgroup's part of the slice in shared memory.
void multiply() {
    const uint part = gl_SubgroupID / TEAMS;
    const uint firstN = gl_SubgroupID % ACROSS_N * EACH_N * SIZE_N;
    const uint firstT = gl_SubgroupID % TEAMS / ACROSS_N * EACH_T * SIZE_T;
    [[unroll]] for (uint k = 0; k < TILE_K / SPLIT_K; k += SIZE_K) {
        const uint column = slice + (part * (TILE_K / SPLIT_K) + k) / 8;
        coopmat<ELEMENT, gl_ScopeSubgroup, SIZE_N, SIZE_K, gl_MatrixUseA> w[EACH_N];
        [[unroll]] for (uint i = 0; i < EACH_N; i++) {
            coopMatLoad(w[i], pool, column + (firstN + i * SIZE_N) * LINE, LINE, gl_CooperativeMatrixLayoutRowMajor);
        }
        [[unroll]] for (uint j = 0; j < EACH_T; j++) {
            coopmat<ELEMENT, gl_ScopeSubgroup, SIZE_K, SIZE_T, gl_MatrixUseB> x;
            coopMatLoad(x, pool, column + (TILE_N + firstT + j * SIZE_T) * LINE, LINE, gl_CooperativeMatrixLayoutColumnMajor);
            [[unroll]] for (uint i = 0; i < EACH_N; i++) {
                sums[i * EACH_T + j] = coopMatMulAdd(w[i], x, sums[i * EACH_T + j]);
            }
        }
    }
}

// One slice, which begins at column first and waits in a slot.
void step(uint slot, uint first, uint thread) {
    if (BUFFERS == 1) {
        barrier();
    }
    keep(slot, thread);
    barrier();
    fetch(slot, first + DEPTH * TILE_K, thread);
    multiply();
    slice = BUFFERS == 1 ? 0 : SLICE - slice;
}

// Writes four outputs of a row, t and n from the tile's corner on.
void store(uint firstToken, uint firstOutput, uint t, uint n, vec4 total) {
    n += firstOutput;
    if (firstToken + t < push.tokens && n < (push.outputs + 7) / 8 * 8) {
        if (NORM) {
            total *= mantissa(inverse[t]);
        }
        bvec4 pad = greaterThanEqual(uvec4(n) + uvec4(0, 1, 2, 3), uvec4(push.outputs));
        Floats4(push.y + uint64_t(firstToken + t) * push.yStride * 4).at[n >> 2] = mix(total, vec4(0.0), pad);
    }
}

// Four outputs of the tile, by their place in the blocks of sums: the parts of the columns, in their order.
vec4 sumAt(uint v) {
    vec4 total = uintBitsToFloat(pool[v]);
    [[unroll]] for (uint s = 1; s < SPLIT_K; s++) {
        total += uintBitsToFloat(pool[s * TEAMS * EACH * PATCH + v]);
    }
    return total;
}

Eight tileOutputs(uint unit, uint row) {
    const uint n = unit * 8 / SIZE_N; // of the block
    const uint t = row / SIZE_T;
    const uint team = t / EACH_T * ACROSS_N + n / EACH_N;
    const uint v = (team * EACH + n % EACH_N * EACH_T + t % EACH_T) * PATCH + row % SIZE_T * WIDTH + unit * 2 % WIDTH;
    const float factor = NORM ? mantissa(inverse[row]) : 1.0;
    precise vec4 lo = sumAt(v) * factor;
    precise vec4 hi = sumAt(v + 1) * factor;
    return Eight(lo, hi);
}

void main() {
    const uint subgroup = gl_SubgroupID;
    const uint thread = subgroup * gl_SubgroupSize + gl_SubgroupInvocationID;
    const uint tiles = (push.tokens + TILE_T - 1) / TILE_T;
    const uint firstToken = gl_WorkGroupID.x % tiles * TILE_T;
    const uint firstOutput = gl_WorkGroupID.x / tiles * TILE_N;

    Ahead ahead;
    if (ENDING != END_NONE) {
        ahead = fetchAhead(push.epilogue, push.slots, firstToken, TILE_T, push.tokens, thread);
    }
    [[unroll]] for (uint i = 0; i < LOADS_N; i++) {
        uint n = columnOf(min(firstOutput + thread / VECTORS + i * LINES, push.outputs - 1), push.outputs);
        wRows[i] = push.w + uint64_t(n) * push.wStride * 2;
    }
    [[unroll]] for (uint i = 0; i < LOADS_T; i++) {
        xRows[i] = push.x + uint64_t(rowOf(firstToken + thread / VECTORS + i * LINES)) * push.xStride * 4;
    }
    [[unroll]] for (uint slot = 0; slot < DEPTH; slot++) {
        fetch(slot, slot * TILE_K, thread);
    }
    if (NORM) {
        for (uint i = thread; i < TILE_T * NORM_LANES; i += THREADS) {
            uint t = i / NORM_LANES;
            inverse[t] = inverseNorm(push.squares, rowOf(firstToken + t), push.parts, push.normWidth, push.eps, i % NORM_LANES, NORM_LANES);
        }
        barrier();
        [[unroll]] for (uint i = 0; i < LOADS_T; i++) {
            xScales[i] = powerOfTwo(inverse[min(thread / VECTORS + i * LINES, TILE_T - 1)]);
        }
    }

    [[unroll]] for (uint i = 0; i < EACH; i++) {
        sums[i] = coopmat<float, gl_ScopeSubgroup, SIZE_N, SIZE_T, gl_MatrixUseAccumulator>(0.0);
    }
    // Not a loop over the slots: with barriers inside it would not be unrolled.
    for (uint first = 0; first < push.inputs; first += DEPTH * TILE_K) {
        step(0, first, thread);
        if (DEPTH > 1 && first + TILE_K < push.inputs) {
            step(1, first + TILE_K, thread);
        }
        if (DEPTH > 2 && first + 2 * TILE_K < push.inputs) {
            step(2, first + 2 * TILE_K, thread);
        }
        if (DEPTH > 3 && first + 3 * TILE_K < push.inputs) {
            step(3, first + 3 * TILE_K, thread);
        }
    }

    // The sums pass through shared memory. Loops that index them hold nothing else, or they are not unrolled and the
    // sums end up in memory.
    barrier();
    const uint blockN = subgroup % ACROSS_N * EACH_N;
    const uint blockT = subgroup % TEAMS / ACROSS_N * EACH_T;
    if (!WHOLE) {
        const uint lane = gl_SubgroupInvocationID;
        [[unroll]] for (uint i = 0; i < EACH_N; i++) {
            [[unroll]] for (uint j = 0; j < EACH_T; j++) {
                coopMatStore(sums[i * EACH_T + j], pool, subgroup * PATCH, WIDTH, gl_CooperativeMatrixLayoutColumnMajor);
                subgroupBarrier();
                [[unroll]] for (uint u = 0; u < PATCH; u += THREADS / SUBGROUPS) {
                    if (u + lane < PATCH) {
                        store(firstToken, firstOutput, (blockT + j) * SIZE_T + (u + lane) / WIDTH,
                              (blockN + i) * SIZE_N + (u + lane) % WIDTH * 4, uintBitsToFloat(pool[subgroup * PATCH + u + lane]));
                    }
                }
                subgroupBarrier();
            }
        }
        return;
    }
    [[unroll]] for (uint i = 0; i < EACH_N; i++) {
        [[unroll]] for (uint j = 0; j < EACH_T; j++) {
            coopMatStore(sums[i * EACH_T + j], pool, (subgroup * EACH + i * EACH_T + j) * PATCH, WIDTH, gl_CooperativeMatrixLayoutColumnMajor);
        }
    }
    if (ENDING != END_NONE) {
        keepAhead(ahead, TILE_T, thread);
        if (LORA) {
            lookAt(push.arrivals, gl_WorkGroupID.x, thread);
        }
    }
    barrier();
    if (ENDING != END_NONE) {
        endTile(epilogueAhead(), gl_WorkGroupID.x, TILE_N / 8, TILE_T, thread, THREADS);
        return;
    }
    for (uint v = thread; v < TEAMS * EACH * PATCH; v += THREADS) {
        const uint team = v / PATCH / EACH;
        const uint block = v / PATCH % EACH;
        store(firstToken, firstOutput, (team / ACROSS_N * EACH_T + block % EACH_T) * SIZE_T + v % PATCH / WIDTH,
              (team % ACROSS_N * EACH_N + block / EACH_T) * SIZE_N + v % WIDTH * 4, sumAt(v));
    }
}
