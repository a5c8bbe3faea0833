// hidden[t, s*maxRank + r] = inv(t) * sum_k A_s[r,k] * gamma[k] * x[t,k] on a CPU's lanes: each lane has one r, for all
// rows of the tile. The product of a bias is 1.
// Grid: {blocks of THREADS ranks, adapter tiles, sites}.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

layout(constant_id = 1) const bool NORM = false;   // x is read through an RMS norm
layout(constant_id = 2) const bool GATHER = false; // a row's x is another row of push.x
layout(constant_id = 3) const uint ENDING = 0;     // what the projection beside it does with its outputs, see include/epilogue.glsl
layout(constant_id = 4) const uint HEAD_DIM = 128;
const bool FLOATS = true;
const bool HALF = false;
const bool LORA = true;
const bool WHOLE = false;

#include "include/drain_units.glsl"
#include "include/lanes.glsl"
const uint NORM_LANES = 8;
#include "include/norm.glsl"

const uint THREADS = 16;
layout(local_size_x = 16) in;

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
} push;

uint rowOf(uint t) { return GATHER ? Uints(push.gather).at[t] : t; }

void shrink(uint thread) {
    const RowTile tile = RowTiles(push.tiles).at[gl_WorkGroupID.y];
    const AdapterSite site = adapterSite(push.table, tile.slot, push.sitesPerSlot, push.firstSite + gl_WorkGroupID.z);
    const uint rank = gl_WorkGroupID.x * THREADS + thread;
    if (gl_WorkGroupID.x * THREADS >= site.rank) {
        return;
    }
    const uint rows = site.rank - site.biases; // of A
    const uint end = (push.width + 7) / 8 * 8;
    const uint64_t a = site.A + uint64_t(min(rank, rows - 1)) * end * typeSize();

    float sums[TILE_ROWS];
    [[unroll]] for (uint row = 0; row < TILE_ROWS; row++) {
        sums[row] = 0.0;
    }
    for (uint k = 0; k < end; k += 16) {
        // Past the end the weights repeat and the activations are zero.
        const uint mine = min(k + pairOffset(), end - 2);
        vec2 factor = vec2(k + pairOffset() < end ? 1.0 : 0.0);
        if (NORM) {
            factor *= typePair(push.gamma, mine);
        }
        Eight low = lane8(a, k);
        Eight high = lane8(a, min(k + 8, end - 8));
        [[unroll]] for (uint row = 0; row < TILE_ROWS; row++) {
            if (row < tile.count) {
                vec2 x = floatPair(push.x + uint64_t(rowOf(tile.first + row)) * push.xStride * 4, mine) * factor;
                [[unroll]] for (uint i = 0; i < 8; i++) {
                    sums[row] = fma(pick8(low, i), SPREAD(x, i), sums[row]);
                }
                [[unroll]] for (uint i = 0; i < 8; i++) {
                    sums[row] = fma(pick8(high, i), SPREAD(x, i + 8), sums[row]);
                }
            }
        }
    }

    // A loop of its own: a loop inside an unrolled one would keep it, and with it the sums, from registers.
    float inverse[TILE_ROWS];
    for (uint row = 0; row < tile.count; row++) {
        inverse[row] = NORM ? inverseNorm(push.squares, rowOf(tile.first + row), push.parts, push.width, push.eps, thread % NORM_LANES) : 1.0;
    }
    [[unroll]] for (uint row = 0; row < TILE_ROWS; row++) {
        if (row < tile.count && rank < site.rank) {
            uint at = (tile.first + row) * push.hiddenStride + gl_WorkGroupID.z * push.maxRank + rank;
            Hidden(push.hidden).at[at] = rank < rows ? sums[row] * inverse[row] : 1.0;
        }
    }
}

void main() {
    const uint thread = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    shrink(thread);
    if (ENDING != END_NONE) {
        arriveForShrink(Epilogues(push.epilogue).at[0], thread, THREADS);
    }
}
