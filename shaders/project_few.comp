// y[t,n] = inv(t) * sum_k W[n,k] * gamma[k] * x[row(t),k] for few rows t: every weight is used for COLUMNS rows while it
// is in registers. With up to eight rows W is read once, and the speed is that of memory: all that matters is that
// enough loads are in flight and that no other traffic gets in their way. Blocks of further rows read the same weights
// at the same time, from the cache.
//
// Grid: {blocks of outputs * blocks of rows, 1, 1}.
//
// LANES invocations share ROWS outputs and split K between them, eight elements (16 bytes of 16-bit weights) at a
// time; each has ROWS * UNROLL such loads in flight. Fewer LANES mean that neighbours read the same activations (one
// broadcast instead of many loads) and fewer sums to fold; more LANES mean more workgroups for a small W.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require

layout(constant_id = 1) const uint COLUMNS = 1; // rows of x at a time, 1 to 8
layout(constant_id = 2) const uint LANES = 32;  // a power of two, 8 to THREADS
layout(constant_id = 3) const uint ROWS = 4;    // outputs per group of LANES
layout(constant_id = 4) const uint UNROLL = 2;
layout(constant_id = 5) const bool NORM = false; // x is normalised
layout(constant_id = 6) const bool GATHER = false; // rows of x are looked up
layout(constant_id = 7) const uint ENDING = 0;   // what the kernel does with its outputs; see include/epilogue.glsl
layout(constant_id = 8) const bool LORA = false;
layout(constant_id = 9) const uint HEAD_DIM = 128;
const bool FLOATS = true;
const bool HALF = false;
const bool WHOLE = false;

#include "include/ahead.glsl"
#include "include/arrive.glsl"

const uint THREADS = 256;
const uint SMALLEST_SUBGROUP = 8;
layout(local_size_x = 256) in;

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

const uint SUMS = ROWS * COLUMNS;

shared float partial[THREADS / SMALLEST_SUBGROUP * SUMS];
shared float inverse[COLUMNS];

uint64_t weights[ROWS];
uint64_t inputs[COLUMNS];
float sums[SUMS];
Raw8 raw[ROWS * UNROLL];

uint firstToken; // of this block

// The row of x for a column of this block; columns past the last token repeat it.
uint rowOf(uint c) {
    uint t = min(firstToken + c, push.tokens - 1);
    return GATHER ? Uints(push.gather).at[t] : t;
}

// One column per subgroup, so that the parts of a row arrive together.
void findInverse() {
    for (uint c = gl_SubgroupID; c < COLUMNS; c += gl_NumSubgroups) {
        float total = 0.0;
        uint row = rowOf(c);
        for (uint i = gl_SubgroupInvocationID; i < push.parts; i += gl_SubgroupSize) {
            total += Floats(push.squares).at[row * push.parts + i];
        }
        total = subgroupAdd(total);
        if (subgroupElect()) {
            inverse[c] = inversesqrt(total / float(push.normWidth) + push.eps);
        }
    }
}

// Adds what eight elements of every row contribute. Gamma goes to the weights or to the activations, whichever are
// fewer.
void accumulate(uint element, uint slot) {
    Eight gamma;
    if (NORM) {
        gamma = load8(push.gamma, element);
    }
    Eight w[ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        w[r] = decode8(raw[slot * ROWS + r]);
        if (NORM && ROWS < COLUMNS) {
            w[r] = mul8(w[r], gamma);
        }
    }
    [[unroll]] for (uint c = 0; c < COLUMNS; c++) {
        Eight x = floats8(inputs[c], element);
        if (NORM && ROWS >= COLUMNS) {
            x = mul8(x, gamma);
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            float s = sums[r * COLUMNS + c];
            [[unroll]] for (uint i = 0; i < 4; i++) {
                s = fma(w[r].lo[i], x.lo[i], s);
            }
            [[unroll]] for (uint i = 0; i < 4; i++) {
                s = fma(w[r].hi[i], x.hi[i], s);
            }
            sums[r * COLUMNS + c] = s;
        }
    }
}

// Sums over the lanes of a group within each subgroup and leaves the results in shared memory, one line of SUMS per
// subgroup (or per group, where a subgroup holds several).
void fold(uint thread, uint width) {
    for (uint distance = width / 2; distance > 0; distance /= 2) {
        [[unroll]] for (uint i = 0; i < SUMS; i++) {
            sums[i] += subgroupShuffleXor(sums[i], distance);
        }
    }
    [[unroll]] for (uint i = 0; i < SUMS; i++) {
        if (thread % width == i % width) {
            partial[thread / width * SUMS + i] = sums[i];
        }
    }
}

// An output of the block, n and c from its corner on.
float outputAt(uint n, uint c) {
    const uint lines = LANES / min(LANES, gl_SubgroupSize); // of partial, for each group of LANES
    float total = 0.0;
    for (uint s = 0; s < lines; s++) {
        total += partial[(n / ROWS * lines + s) * SUMS + n % ROWS * COLUMNS + c];
    }
    precise float scaled = NORM ? total * inverse[c] : total;
    return scaled;
}

Eight tileOutputs(uint unit, uint row) {
    Eight v;
    for (uint i = 0; i < 4; i++) {
        v.lo[i] = outputAt(unit * 8 + i, row);
        v.hi[i] = outputAt(unit * 8 + 4 + i, row);
    }
    return v;
}

void main() {
    const uint thread = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    const uint lane = thread % LANES;
    const uint outputs = THREADS / LANES * ROWS; // of the block
    const uint blocks = ENDING == END_NONE ? gl_NumWorkGroups.x / (((push.outputs + 7) / 8 * 8 + outputs - 1) / outputs) : (push.tokens + COLUMNS - 1) / COLUMNS;
    firstToken = gl_WorkGroupID.x % blocks * COLUMNS;
    const uint firstOutput = gl_WorkGroupID.x / blocks * outputs;
    const uint output0 = firstOutput + thread / LANES * ROWS;

    Ahead ahead;
    if (ENDING != END_NONE) {
        ahead = fetchAhead(push.epilogue, push.slots, firstToken, COLUMNS, push.tokens, thread);
    }
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        uint n = columnOf(min(output0 + r, push.outputs - 1), push.outputs);
        weights[r] = push.w + uint64_t(n) * push.wStride * typeSize();
    }
    [[unroll]] for (uint c = 0; c < COLUMNS; c++) {
        inputs[c] = push.x + uint64_t(rowOf(c)) * push.xStride * 4;
    }
    [[unroll]] for (uint i = 0; i < SUMS; i++) {
        sums[i] = 0.0;
    }

    const uint end = (push.inputs + 7) / 8; // rows are padded to whole vectors
    uint vector = lane;
    if (UNROLL > 1) {
        for (; vector + (UNROLL - 1) * LANES < end; vector += UNROLL * LANES) {
            [[unroll]] for (uint u = 0; u < UNROLL; u++) {
                [[unroll]] for (uint r = 0; r < ROWS; r++) {
                    raw[u * ROWS + r] = loadRaw8(weights[r], (vector + u * LANES) * 8);
                }
            }
            [[unroll]] for (uint u = 0; u < UNROLL; u++) {
                accumulate((vector + u * LANES) * 8, u);
            }
        }
    }
    for (; vector < end; vector += LANES) {
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            raw[r] = loadRaw8(weights[r], vector * 8);
        }
        accumulate(vector * 8, 0);
    }

    if (NORM) {
        findInverse();
    }
    if (ENDING != END_NONE) {
        keepAhead(ahead, COLUMNS, thread);
        if (LORA) {
            lookAt(push.arrivals, gl_WorkGroupID.x, thread, LOOKS);
        }
    }
    fold(thread, min(LANES, gl_SubgroupSize));
    barrier();

    if (ENDING != END_NONE) {
        const Epilogue e = epilogueAhead();
        if (claimTile(e, gl_WorkGroupID.x, outputs / 8, COLUMNS, thread, THREADS)) {
            endTile(e, gl_WorkGroupID.x, e.rowTiles, outputs / 8, COLUMNS, thread, THREADS);
        }
        return;
    }
    for (uint i = thread; i < outputs * COLUMNS; i += THREADS) {
        uint n = firstOutput + i / COLUMNS;
        uint t = firstToken + i % COLUMNS;
        if (t < push.tokens && n < (push.outputs + 7) / 8 * 8) {
            Floats(push.y).at[t * push.yStride + n] = n < push.outputs ? outputAt(i / COLUMNS, i % COLUMNS) : 0.0;
        }
    }
}
