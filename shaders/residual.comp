// x[t,n] += y[t,n] + scale * sum_r B[r,n] * hidden[t,r], and the squares of the new x summed by blocks of columns.
// Grid: {blocks of columns, tiles, TILE_ROWS / QUAD_ROWS}; 32 invocations end a row's 256 columns.
#version 460
#extension GL_GOOGLE_include_directive : require

layout(constant_id = 1) const bool LORA = false;
layout(constant_id = 2) const bool FINE = false; // squares are summed by SQUARES_UNIT columns, with HALF SQUARES_QUAD, else by SQUARES_BLOCK
layout(constant_id = 3) const bool HALF = false; // gamma * x is also left as halves
layout(constant_id = 4) const uint SLICES = 1;
const bool APART = false;

#include "include/ends.glsl"
#include "include/expand_rows.glsl"
#include "include/squares.glsl"
#include "include/panels.glsl"

const uint LANES = SQUARES_BLOCK / 8;
layout(local_size_x = EXPAND_THREADS) in;

layout(push_constant) uniform Push {
    uint64_t x;       // fp32 [t][xStride], read and written
    uint64_t y;       // fp32 [t][yStride]
    uint64_t squares; // fp32 [t][block], written
    uint64_t tiles;   // RowTile [gl_WorkGroupID.y]
    uint64_t table;   // AdapterSite [slot][sitesPerSlot]
    uint64_t hidden;  // fp32 [t][hiddenStride]
    uint64_t halves;  // TYPE, in panels, written with HALF
    uint64_t gamma;   // TYPE [width]: of the next norm
    uint xStride;
    uint yStride;
    uint width;
    uint sitesPerSlot;
    uint firstSite;
    uint hiddenStride;
    uint maxRank;    // columns of hidden per slice
    uint halfPanels; // that the columns of the halves take
} push;

shared float sums[QUAD_ROWS * LANES];

void main() {
    RowTile quad = quadOf(RowTiles(push.tiles).at[gl_WorkGroupID.y]);
    if (quad.count == 0) {
        return;
    }
    Place place = placeOf(LANES);
    uint padded = (push.width + 7) & ~7u;
    uint column = gl_WorkGroupID.x * SQUARES_BLOCK + place.lane * 8;
    uint t = quad.first + place.row;
    bool inside = column < padded;
    bool writes = place.row < quad.count && inside;

    // Loaded first, so that they are on their way while the products are added up.
    Eight x, y;
    if (writes) {
        x = floats8(push.x, t * push.xStride + column);
        y = floats8(push.y, t * push.yStride + column);
    }
    Eight delta = Eight(vec4(0.0), vec4(0.0));
    if (LORA) {
        AdapterSite site = adapterSite(push.table, quad.slot, push.sitesPerSlot, push.firstSite);
        delta = expandRows(site, quad, place, push.hidden, push.hiddenStride, push.maxRank, padded, column, column + 4, inside);
    }

    float square = 0.0;
    if (writes) {
        Eight v = add8(x, add8(y, delta));
        v = Eight(clip(v.lo, column, push.width), clip(v.hi, column + 4, push.width));
        Floats4(push.x).at[(t * push.xStride + column) >> 2] = v.lo;
        Floats4(push.x).at[((t * push.xStride + column) >> 2) + 1] = v.hi;
        square = squares8(v);
        if (HALF) {
            storeHalves8(push.halves, t, column, push.halfPanels, mul8(v, load8(push.gamma, column)));
        }
        if (FINE && !HALF) {
            Floats(push.squares).at[(t * padded + column) / SQUARES_UNIT] = square;
        }
    }
    if (FINE && !HALF) {
        return;
    }
    uint first = place.row * LANES + place.lane;
    bool ends = place.row < quad.count;
    if (ends) {
        sums[first] = square;
    }
    barrier();
    if (FINE) {
        if (writes && column % SQUARES_QUAD == 0) { // in the order of quadSquares
            float total = (sums[first] + sums[first + 1]) + (sums[first + 2] + sums[first + 3]);
            Floats(push.squares).at[t * ((padded + SQUARES_QUAD - 1) / SQUARES_QUAD) + column / SQUARES_QUAD] = total;
        }
        return;
    }
    if (ends && place.lane == 0) {
        float total = 0.0;
        for (uint i = 0; i < LANES; i++) {
            total += sums[first + i];
        }
        Floats(push.squares).at[t * gl_NumWorkGroups.x + gl_WorkGroupID.x] = total;
    }
}
