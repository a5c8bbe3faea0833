// y[t,n] = inv(t) * sum_k W[n,k] * gamma[k] * x[row(t),k] on a CPU's lanes: each lane has ROWS outputs of COLUMNS rows.
//
// Grid: {blocks of outputs, blocks of COLUMNS rows, 1}.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

layout(constant_id = 1) const uint COLUMNS = 1; // rows of x at a time
layout(constant_id = 2) const bool NORM = false; // x is normalised
layout(constant_id = 3) const bool GATHER = false; // rows of x are looked up
layout(constant_id = 4) const uint ENDING = 0;  // what the kernel does with its outputs; see include/epilogue.glsl
layout(constant_id = 5) const bool LORA = false;
layout(constant_id = 6) const uint HEAD_DIM = 128;
const bool FLOATS = true;
const bool HALF = false;
const bool WHOLE = false;

#include "include/arrive.glsl"
#include "include/lanes.glsl"
const uint ROWS = 8; // outputs per lane, a unit
const uint THREADS = 8;
const uint NORM_LANES = THREADS;
#include "include/norm.glsl"
layout(local_size_x = 8) in;

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

// The row of x that is multiplied for row t of y; rows past the last repeat it.
uint rowOf(uint t) {
    t = min(t, push.tokens - 1);
    return GATHER ? Uints(push.gather).at[t] : t;
}

shared vec4 tile[COLUMNS * THREADS * 2];

Eight tileOutputs(uint unit, uint row) {
    const uint at = (row * THREADS + unit) * 2;
    return Eight(tile[at], tile[at + 1]);
}

uint tileSlot(Epilogue e, uint row) { return Uints(push.slots).at[gl_WorkGroupID.y * COLUMNS + row]; }

void main() {
    const uint thread = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    const uint output0 = (gl_WorkGroupID.x * THREADS + thread) * ROWS;
    const uint firstToken = gl_WorkGroupID.y * COLUMNS;
    const uint end = (push.inputs + 7) / 8 * 8;

    uint64_t rows[ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        uint n = columnOf(min(output0 + r, push.outputs - 1), push.outputs);
        rows[r] = push.w + uint64_t(n) * push.wStride * typeSize();
    }
    uint64_t inputs[COLUMNS];
    float sums[ROWS * COLUMNS];
    [[unroll]] for (uint c = 0; c < COLUMNS; c++) {
        inputs[c] = push.x + uint64_t(rowOf(firstToken + c)) * push.xStride * 4;
    }
    [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; i++) {
        sums[i] = 0.0;
    }

    for (uint k = 0; k < end; k += 16) {
        // Past the end the weights repeat and the activations are zero.
        const uint mine = min(k + pairOffset(), end - 2);
        vec2 factor = vec2(k + pairOffset() < end ? 1.0 : 0.0);
        if (NORM) {
            factor *= typePair(push.gamma, mine);
        }
        vec2 x[COLUMNS];
        [[unroll]] for (uint c = 0; c < COLUMNS; c++) {
            x[c] = floatPair(inputs[c], mine) * factor;
        }
        [[unroll]] for (uint part = 0; part < 16; part += 8) {
            Eight w[ROWS];
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                w[r] = lane8(rows[r], min(k + part, end - 8));
            }
            [[unroll]] for (uint c = 0; c < COLUMNS; c++) {
                [[unroll]] for (uint i = 0; i < 8; i++) {
                    float xi = SPREAD(x[c], part + i);
                    [[unroll]] for (uint r = 0; r < ROWS; r++) {
                        sums[r * COLUMNS + c] = fma(pick8(w[r], i), xi, sums[r * COLUMNS + c]);
                    }
                }
            }
        }
    }

    // A loop of its own: a loop inside an unrolled one would keep it, and with it the sums, from registers.
    float inverse[COLUMNS];
    for (uint c = 0; c < COLUMNS; c++) {
        inverse[c] = NORM ? inverseNorm(push.squares, rowOf(firstToken + c), push.parts, push.normWidth, push.eps, thread) : 1.0;
    }
    if (ENDING != END_NONE) {
        const uint at = gl_WorkGroupID.x * gl_NumWorkGroups.y + gl_WorkGroupID.y;
        if (LORA) {
            lookAt(push.arrivals, at, thread, 1);
        }
        [[unroll]] for (uint c = 0; c < COLUMNS; c++) {
            [[unroll]] for (uint side = 0; side < 2; side++) {
                vec4 v;
                [[unroll]] for (uint r = 0; r < 4; r++) {
                    v[r] = sums[(side * 4 + r) * COLUMNS + c];
                }
                precise vec4 scaled = v * inverse[c];
                tile[(c * THREADS + thread) * 2 + side] = scaled;
            }
        }
        barrier();
        const Epilogue e = Epilogues(push.epilogue).at[0];
        if (claimTile(e, at, THREADS, COLUMNS, thread, THREADS)) {
            endTile(e, at, e.rowTiles, THREADS, COLUMNS, thread, THREADS);
        }
        return;
    }
    [[unroll]] for (uint c = 0; c < COLUMNS; c++) {
        uint t = firstToken + c;
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            uint n = output0 + r;
            if (t < push.tokens && n < (push.outputs + 7) / 8 * 8) {
                Floats(push.y).at[t * push.yStride + n] = n < push.outputs ? sums[r * COLUMNS + c] * inverse[c] : 0.0;
            }
        }
    }
}
