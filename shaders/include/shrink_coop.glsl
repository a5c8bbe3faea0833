// shrink by cooperative matrices, where lanes hold them as FRAGMENTS of coop.glsl says: x comes as halves, in panels, A row by row, and
// either goes straight into the registers of the subgroups, which divide the columns between them. The rows of a tile fill half
// of a matrix.
// Grid: {blocks of COOP_RANKS, adapter tiles, sites}.
#define LEFT coherent
#include "coop.glsl"

layout(constant_id = 7) const bool GATHER = false; // the norm's rows are looked up
layout(constant_id = 8) const uint ENDING = 0;     // what the projection beside it does with its outputs, see epilogue.glsl
layout(constant_id = 9) const uint HEAD_DIM = 128;
layout(constant_id = 10) const bool HALF = false;  // and whether it leaves halves
layout(constant_id = 11) const bool FLOATS = true; // and fp32 rows
layout(constant_id = 12) const bool FLOW = false; // the stages around the ending one flow
const bool LORA = true;
const bool WHOLE = true;

#include "arrive.glsl"
#include "norm.glsl"

const uint COOP_RANKS = 16; // rows of A a workgroup has
const uint SUBGROUPS = THREADS / 32;
const uint UNROLL = 4; // panels on their way

layout(push_constant) uniform Push {
    uint64_t tiles;    // RowTile [gl_WorkGroupID.y]
    uint64_t table;    // AdapterSite [slot][sitesPerSlot]
    uint64_t x;        // TYPE, in panels: halves
    uint64_t hidden;   // fp32 [t][hiddenStride], written; scaled and in TYPE where a projection ends with them
    uint64_t squares;  // fp32 [row][parts]
    uint64_t gather;   // uint32 [t], the norm's row of each t, with GATHER
    uint64_t epilogue; // Epilogue [1]
    uint64_t flow;     // the counters of the stage before, see flow.glsl, with FLOW
    uint sitesPerSlot;
    uint firstSite; // table column of site 0
    uint panels;    // that the columns of x take
    uint width;     // of x
    uint hiddenStride;
    uint maxRank; // columns of hidden per site
    uint parts;
    float eps;
} push;

// Two scaled products in TYPE, as delta_coop.glsl reads them.
layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer HiddenPairs { uint at[]; };

shared float partial[SUBGROUPS * (ENDING == END_NONE ? 1 : 2) * 256]; // sums, and two blocks of deltas a subgroup (drain_coop.glsl)
shared float inverse[TILE_ROWS];

uint normRow(uint t) { return GATHER ? Uints(push.gather).at[t] : t; }

#include "drain_coop.glsl"

void shrink(uint thread, uint lane) {
    const RowTile tile = RowTiles(push.tiles).at[gl_WorkGroupID.y];
    const AdapterSite site = adapterSite(push.table, tile.slot, push.sitesPerSlot, push.firstSite + gl_WorkGroupID.z);
    const uint firstRank = gl_WorkGroupID.x * COOP_RANKS;
    if (firstRank >= site.rank) {
        return;
    }
    const uint rows = site.rank - site.biases; // of A
    const uint chunks = (push.width + 7) / 8;  // of a row of A
    uint64_t a[2];
    [[unroll]] for (uint i = 0; i < 2; i++) {
        // Past the end the last row again: its sums are never written.
        a[i] = site.A + 16ul * min(firstRank + i * 8 + lane / 4, rows - 1) * chunks;
    }
    const uint x = chunkOf(tile.first + min(lane / 4, tile.count - 1), lane % 4 * 8, push.panels);
    SUMS sums = SUMS(0.0);
    const uint end = push.panels * (gl_SubgroupID + 1) / SUBGROUPS;
    for (uint panel = push.panels * gl_SubgroupID / SUBGROUPS; panel < end; panel += UNROLL) {
        uvec4 nextX[UNROLL];
        uvec4 nextA[UNROLL * 2];
        [[unroll]] for (uint u = 0; u < UNROLL; u++) {
            const uint chunk = (panel + u) * 4 + lane % 4;
            const bool inside = panel + u < end && chunk < chunks;
            nextX[u] = uvec4(0);
            nextA[2 * u] = uvec4(0);
            nextA[2 * u + 1] = uvec4(0);
            if (inside) {
                nextX[u] = Uints4(push.x).at[x + (panel + u) * PANEL_CHUNKS];
                nextA[2 * u] = Fixed4(a[0]).at[chunk];
                nextA[2 * u + 1] = Fixed4(a[1]).at[chunk];
            }
        }
        [[unroll]] for (uint u = 0; u < UNROLL; u++) {
            [[unroll]] for (uint step = 0; step < 2; step++) {
                sums = coopMatMulAdd(rowsOf(nextX[u], uvec4(0), step), outputsOf(nextA[2 * u], nextA[2 * u + 1], step), sums);
            }
        }
    }
    if (NORM && thread < TILE_ROWS * NORM_LEAVES) {
        const uint row = thread / NORM_LEAVES;
        inverse[row] = inverseNorm(push.squares, normRow(tile.first + min(row, tile.count - 1)), push.parts, push.width, push.eps,
                                   thread % NORM_LEAVES, NORM_LEAVES);
    }
    coopMatStore(sums, partial, gl_SubgroupID * 256, 16, gl_CooperativeMatrixLayoutRowMajor);
    barrier();
    const uint row = thread / COOP_RANKS;
    const uint rank = firstRank + thread % COOP_RANKS;
    if (row >= tile.count || rank >= push.maxRank) {
        return;
    }
    float total = 0.0;
    [[unroll]] for (uint s = 0; s < SUBGROUPS; s++) {
        total += partial[s * 256 + thread];
    }
    if (NORM) {
        total *= inverse[row];
    }
    const float product = rank < rows ? total : rank < site.rank ? 1.0 : 0.0;
    const uint at = (tile.first + row) * push.hiddenStride + gl_WorkGroupID.z * push.maxRank + rank;
    if (ENDING == END_NONE) {
        Hidden(push.hidden).at[at] = product;
        return;
    }
    const float scaled = bounded(vec4(site.scale * product)).x;
    const float next = subgroupShuffleXor(scaled, 1);
    if (rank % 2 == 0) {
        HiddenPairs(push.hidden).at[at / 2] = packElements(vec2(scaled, next));
    }
}

void main() {
    const uint lane = gl_SubgroupInvocationID;
    const uint thread = gl_SubgroupID * gl_SubgroupSize + lane;
    if (FLOW) {
        awaitStage(push.flow, thread);
    }
    shrink(thread, lane);
    if (FLOW) {
        payOwed(push.flow, FLOW_STRIDE + FLOW_SHRINK, thread);
    } else if (ENDING != END_NONE) {
        arriveForShrink(Epilogues(push.epilogue).at[0], thread, THREADS);
    }
}
