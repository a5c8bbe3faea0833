// y[t,n] += scale * sum_r B[r,n] * hidden[t,r]: the second half of a LoRA product, where no later kernel folds it in.
// Grid: {blocks of 256 columns, adapter tiles, TILE_ROWS / QUAD_ROWS}; 32 invocations end a row's 256 columns.
#version 460
#extension GL_GOOGLE_include_directive : require

#define SLICES 1
const bool APART = false;

#include "include/expand_rows.glsl"

const uint COLUMNS = 256; // a workgroup has
const uint LANES = COLUMNS / 8;
layout(local_size_x = EXPAND_THREADS) in;

layout(push_constant) uniform Push {
    uint64_t y;      // fp32 [t][yStride], read and written
    uint64_t tiles;  // RowTile [gl_WorkGroupID.y]
    uint64_t table;  // AdapterSite [slot][sitesPerSlot]
    uint64_t hidden; // fp32 [t][hiddenStride]
    uint yStride;
    uint width; // of y
    uint sitesPerSlot;
    uint site;
    uint hiddenStride;
} push;

void main() {
    RowTile quad = quadOf(RowTiles(push.tiles).at[gl_WorkGroupID.y]);
    if (quad.count == 0) {
        return;
    }
    AdapterSite site = adapterSite(push.table, quad.slot, push.sitesPerSlot, push.site);
    if (site.rank == 0) {
        return;
    }
    Place place = placeOf(LANES);
    uint padded = (push.width + 7) & ~7u;
    uint column = gl_WorkGroupID.x * COLUMNS + place.lane * 8;
    uint t = quad.first + place.row;
    bool inside = column < padded;

    Eight delta = expandRows(site, quad, place, push.hidden, push.hiddenStride, 0, padded, column, column + 4, inside);
    if (place.row < quad.count && inside) {
        uint64_t row = push.y + 4ul * t * push.yStride;
        Eight y = add8(floats8(row, column), delta);
        Floats4(row).at[column >> 2] = y.lo;
        Floats4(row).at[(column >> 2) + 1] = y.hi;
    }
}
