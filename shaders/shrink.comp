// The first half of every LoRA product of one input: hidden[t, s*maxRank + r] = inv(t) * sum_k A_s[r,k] * gamma[k] * x[t,k]
// for r below the number of rows that the tile's adapter has in A at site s, and 1 for the bias behind them, if it has
// one. A is read once for all rows of the tile.
// Grid: {blocks of RANKS, adapter tiles, sites}.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

layout(constant_id = 1) const bool NORM = false;   // x is read through an RMS norm
layout(constant_id = 2) const bool GATHER = false; // a row's x is another row of push.x
layout(constant_id = 3) const uint ENDING = 0;     // what the projection beside it does with its outputs, see include/epilogue.glsl
layout(constant_id = 4) const uint HEAD_DIM = 128;
layout(constant_id = 5) const bool HALF = false;   // and whether it leaves halves
layout(constant_id = 6) const bool FLOATS = true;  // and fp32 rows
layout(constant_id = 7) const bool FLOW = false;   // the stages around the ending one flow
const bool LORA = true;
const bool WHOLE = false;

#define LEFT coherent
#include "include/drain_units.glsl"
const uint THREADS = 256;
const uint RANKS = 4;               // rows of A a workgroup has
const uint MOST_SUBGROUPS = 32;     // subgroups are of 8 and more
const uint NORM_LANES = 8;
#include "include/norm.glsl"
layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint64_t tiles;    // RowTile [gl_WorkGroupID.y]
    uint64_t table;    // AdapterSite [slot][sitesPerSlot]
    uint64_t x;        // fp32 [t][xStride]
    uint64_t hidden;   // fp32 [t][hiddenStride], written
    uint64_t gamma;    // TYPE [width]
    uint64_t squares;  // fp32 [t][parts]
    uint64_t gather;   // uint32 [t]: the row of x and squares, where GATHER is set
    uint64_t epilogue; // Epilogue [1]
    uint sitesPerSlot;
    uint firstSite; // table column of site 0
    uint xStride;
    uint width; // of x
    uint hiddenStride;
    uint maxRank; // columns of hidden per site
    uint parts;
    float eps;
    uint64_t flow;     // the counters of the stage before, see include/flow.glsl, with FLOW
} push;

shared float sums[MOST_SUBGROUPS][TILE_ROWS * RANKS];
shared float inverse[TILE_ROWS];

uint rowOf(uint t) { return GATHER ? Uints(push.gather).at[t] : t; }

void shrink(uint thread) {
    RowTile tile = RowTiles(push.tiles).at[gl_WorkGroupID.y];
    AdapterSite site = adapterSite(push.table, tile.slot, push.sitesPerSlot, push.firstSite + gl_WorkGroupID.z);
    uint firstRank = gl_WorkGroupID.x * RANKS;
    if (firstRank >= site.rank) {
        return;
    }
    uint rows = site.rank - site.biases; // of A
    if (NORM && thread < TILE_ROWS * NORM_LANES) {
        uint row = thread / NORM_LANES;
        float factor = inverseNorm(push.squares, rowOf(tile.first + min(row, tile.count - 1)), push.parts, push.width,
                                   push.eps, thread % NORM_LANES);
        inverse[row] = factor;
    }
    uint stride = (push.width + 7) & ~7u;
    float acc[TILE_ROWS * RANKS];
    [[unroll]] for (uint i = 0; i < TILE_ROWS * RANKS; i++) {
        acc[i] = 0.0;
    }
    for (uint k = thread * 8; k < stride; k += THREADS * 8) {
        Eight a[RANKS];
        [[unroll]] for (uint i = 0; i < RANKS; i++) {
            // Past the end the last row again: its sums are never written.
            a[i] = load8(site.A, min(firstRank + i, rows - 1) * stride + k);
        }
        if (NORM) {
            Eight gamma = load8(push.gamma, k);
            [[unroll]] for (uint i = 0; i < RANKS; i++) {
                a[i] = mul8(a[i], gamma);
            }
        }
        [[unroll]] for (uint row = 0; row < TILE_ROWS; row++) {
            if (row < tile.count) {
                Eight x = floats8(push.x, rowOf(tile.first + row) * push.xStride + k);
                [[unroll]] for (uint i = 0; i < RANKS; i++) {
                    acc[row * RANKS + i] += dot8(a[i], x);
                }
            }
        }
    }
    [[unroll]] for (uint i = 0; i < TILE_ROWS * RANKS; i++) {
        if (i < tile.count * RANKS) {
            float sum = subgroupAdd(acc[i]);
            if (subgroupElect()) {
                sums[gl_SubgroupID][i] = sum;
            }
        }
    }
    barrier();
    uint row = thread / RANKS;
    uint rank = firstRank + thread % RANKS;
    if (row >= tile.count || rank >= site.rank) {
        return;
    }
    float total = 0.0;
    for (uint s = 0; s < gl_NumSubgroups; s++) {
        total += sums[s][thread];
    }
    uint t = tile.first + row;
    if (NORM) {
        total *= inverse[row];
    }
    Hidden(push.hidden).at[t * push.hiddenStride + gl_WorkGroupID.z * push.maxRank + rank] = rank < rows ? total : 1.0;
}

void main() {
    const uint thread = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    if (FLOW) {
        awaitStage(push.flow, thread);
    }
    shrink(thread);
    if (FLOW) {
        payOwed(push.flow, FLOW_STRIDE + FLOW_SHRINK, thread);
    } else if (ENDING != END_NONE) {
        arriveForShrink(Epilogues(push.epilogue).at[0], thread, THREADS);
    }
}
