// out[t,n] = silu(gate + delta) * (up + delta), silu(g) = g / (1 + exp(-g)); gate and up are two runs of columns of one
// projection's output, each with the LoRA delta of its own site.
// Grid: {blocks of 256 columns, tiles, TILE_ROWS / QUAD_ROWS}; 32 invocations end a row's 256 columns.
#version 460
#extension GL_GOOGLE_include_directive : require

layout(constant_id = 1) const bool LORA = false;
layout(constant_id = 2) const bool FLOATS = true; // the result is left as fp32 rows
layout(constant_id = 3) const bool HALF = false;  // and as halves
#define SLICES 1
const bool APART = false;

#include "include/ends.glsl"
#include "include/expand_rows.glsl"
#include "include/panels.glsl"

const uint COLUMNS = 256; // a workgroup has
const uint LANES = COLUMNS / 8;
layout(local_size_x = EXPAND_THREADS) in;

layout(push_constant) uniform Push {
    uint64_t gateUp; // fp32 [t][gateUpStride]
    uint64_t result; // fp32 [t][outStride], written with FLOATS
    uint64_t tiles;  // RowTile [gl_WorkGroupID.y]
    uint64_t table;  // AdapterSite [slot][sitesPerSlot]
    uint64_t hidden; // fp32 [t][hiddenStride]
    uint64_t halves; // TYPE, in panels, written with HALF
    uint gateUpStride;
    uint upOffset; // column of the first up, a multiple of 4
    uint outStride;
    uint width; // columns of gate
    uint sitesPerSlot;
    uint firstSite; // table column of gate; up is the next
    uint hiddenStride;
    uint maxRank;
    uint halfPanels; // that the columns of the halves take
} push;

void main() {
    RowTile quad = quadOf(RowTiles(push.tiles).at[gl_WorkGroupID.y]);
    if (quad.count == 0) {
        return;
    }
    Place place = placeOf(LANES);
    uint padded = (push.width + 7) & ~7u;
    uint column = gl_WorkGroupID.x * COLUMNS + place.lane * 8;
    uint t = quad.first + place.row;
    bool inside = column < padded;
    bool writes = place.row < quad.count && inside;

    // Loaded first, so that they are on their way while the products are added up.
    Eight gate = Eight(vec4(0.0), vec4(0.0));
    Eight up = gate;
    if (writes) {
        uint start = t * push.gateUpStride + column;
        gate = floats8(push.gateUp, start);
        up = floats8(push.gateUp, start + push.upOffset);
    }
    if (LORA) {
        AdapterSite gateSite = adapterSite(push.table, quad.slot, push.sitesPerSlot, push.firstSite);
        AdapterSite upSite = adapterSite(push.table, quad.slot, push.sitesPerSlot, push.firstSite + 1);
        uint64_t upHidden = push.hidden + 4ul * push.maxRank;
        gate = add8(gate, expandRows(gateSite, quad, place, push.hidden, push.hiddenStride, push.maxRank, padded, column, column + 4, inside));
        up = add8(up, expandRows(upSite, quad, place, upHidden, push.hiddenStride, push.maxRank, padded, column, column + 4, inside));
    }
    if (!writes) {
        return;
    }
    uint target = (t * push.outStride + column) >> 2;
    Eight v = Eight(clip(siluMul(gate.lo, up.lo), column, push.width), clip(siluMul(gate.hi, up.hi), column + 4, push.width));
    if (FLOATS) {
        Floats4(push.result).at[target] = v.lo;
        Floats4(push.result).at[target + 1] = v.hi;
    }
    if (HALF) {
        storeHalves8(push.halves, t, column, push.halfPanels, v);
    }
}
