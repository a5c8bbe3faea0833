// shrink by cooperative matrices, where lanes hold them as FRAGMENTS of coop.glsl says: x comes as halves, in panels, A row by row, and
// either goes straight into the registers of the subgroups, which divide the columns between them. The rows of a tile fill half
// of a matrix.
// Grid: {blocks of COOP_RANKS, adapter tiles, sites * SLICES}.
#define LEFT coherent
#include "coop.glsl"

layout(constant_id = 7) const bool GATHER = false; // the norm's rows are looked up
layout(constant_id = 8) const bool FLOW = false;   // beside a projection that flows
layout(constant_id = 9) const bool SCALED = false; // the products are left scaled and in TYPE
layout(constant_id = 10) const uint SLICES = 1;    // workgroups that share the columns, each of which leaves its part of the products

#include "flow.glsl"
#include "lora.glsl"
const uint NORM_LANES = 8;
#include "norm.glsl"
#include "panels.glsl"

const uint COOP_RANKS = 16; // rows of A a workgroup has
const uint SUBGROUPS = THREADS / 32;
// Panels of A on their way, the first of them before the stage before is done. Small workgroups take few registers, too.
const uint AHEAD = THREADS <= 128 ? 4 : 8;

layout(push_constant) uniform Push {
    uint64_t tiles;    // RowTile [gl_WorkGroupID.y]
    uint64_t table;    // AdapterSite [slot][sitesPerSlot]
    uint64_t x;        // TYPE, in panels: halves
    uint64_t hidden;   // fp32 [t][hiddenStride], written; with SCALED scaled and in TYPE
    uint64_t squares;  // fp32 [row][parts]
    uint64_t gather;   // uint32 [t], the norm's row of each t, with GATHER
    uint64_t flow;     // the counters of the stage before, see flow.glsl, with FLOW
    uint sitesPerSlot;
    uint firstSite; // table column of site 0
    uint panels;    // that the columns of x take
    uint width;     // of x
    uint hiddenStride;
    uint maxRank; // columns of hidden per site and slice
    uint parts;
    float eps;
} push;

// Two scaled products in TYPE, as delta_coop.glsl and delta_blocks.glsl read them.
layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer HiddenPairs { uint at[]; };

shared float partial[SUBGROUPS * 256];
shared float inverse[TILE_ROWS];

uint normRow(uint t) { return GATHER ? Uints(push.gather).at[t] : t; }

uvec4 a[2 * AHEAD];

// Starts the loads of a panel of A, of rows lane / 4 and eight behind; past the end it is zero. Past the last row it is that one
// again, whose sums are never written.
void loadA(uint u, uint panel, uint end, uint64_t low, uint64_t high, uint lane) {
    const uint chunk = panel * 4 + lane % 4;
    a[2 * u] = uvec4(0);
    a[2 * u + 1] = uvec4(0);
    if (panel < end && chunk < (push.width + 7) / 8) {
        a[2 * u] = Fixed4(low).at[chunk];
        a[2 * u + 1] = Fixed4(high).at[chunk];
    }
}

void shrink(RowTile tile, AdapterSite site, uint firstRank, uint thread, uint lane) {
    const uint rows = site.rank - site.biases; // of A
    const uint64_t bytes = 16ul * ((push.width + 7) / 8); // of a row
    const uint64_t low = site.A + bytes * min(firstRank + lane / 4, rows - 1);
    const uint64_t high = site.A + bytes * min(firstRank + lane / 4 + 8, rows - 1);
    const uint x = chunkOf(tile.first + min(lane / 4, tile.count - 1), lane % 4 * 8, push.panels);
    const uint slice = gl_WorkGroupID.z % SLICES;
    const uint part = slice * SUBGROUPS + gl_SubgroupID;
    uint panel = push.panels * part / (SLICES * SUBGROUPS);
    const uint end = push.panels * (part + 1) / (SLICES * SUBGROUPS);
    [[unroll]] for (uint u = 0; u < AHEAD; u++) {
        loadA(u, panel + u, end, low, high, lane);
    }
    if (FLOW) {
        awaitStage(push.flow, thread);
    }
    SUMS sums = SUMS(0.0);
    for (; panel < end; panel += AHEAD) {
        uvec4 xs[AHEAD];
        [[unroll]] for (uint u = 0; u < AHEAD; u++) {
            xs[u] = uvec4(0);
            if (panel + u < end) {
                xs[u] = Uints4(push.x).at[x + (panel + u) * PANEL_CHUNKS];
            }
        }
        [[unroll]] for (uint u = 0; u < AHEAD; u++) {
            [[unroll]] for (uint step = 0; step < 2; step++) {
                sums = coopMatMulAdd(rowsOf(xs[u], uvec4(0), step), outputsOf(a[2 * u], a[2 * u + 1], step), sums);
            }
            loadA(u, panel + AHEAD + u, end, low, high, lane);
        }
    }
    if (NORM && thread < TILE_ROWS * NORM_LANES) {
        const uint row = thread / NORM_LANES;
        inverse[row] = inverseNorm(push.squares, normRow(tile.first + min(row, tile.count - 1)), push.parts, push.width, push.eps,
                                   thread % NORM_LANES);
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
    const float product = rank < rows ? total : rank < site.rank && slice == 0 ? 1.0 : 0.0;
    const uint at = (tile.first + row) * push.hiddenStride + gl_WorkGroupID.z * push.maxRank + rank;
    if (!SCALED) {
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
    const RowTile tile = RowTiles(push.tiles).at[gl_WorkGroupID.y];
    const AdapterSite site = adapterSite(push.table, tile.slot, push.sitesPerSlot, push.firstSite + gl_WorkGroupID.z / SLICES);
    const uint firstRank = gl_WorkGroupID.x * COOP_RANKS;
    if (firstRank < site.rank) {
        shrink(tile, site, firstRank, thread, lane);
    }
    if (FLOW) {
        payOwed(push.flow, FLOW_STRIDE + FLOW_SHRINK, thread);
    }
}
