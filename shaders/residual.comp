// x[t,n] += y[t,n] + scale * sum_r B[r,n] * hidden[t,r], and the squares of the new x summed by blocks of columns.
// Grid: {blocks of columns, tiles, 1}; a team of 32 invocations has a row's 256 columns.
#version 460
#extension GL_GOOGLE_include_directive : require

#extension GL_KHR_shader_subgroup_shuffle : require

#include "include/ends.glsl"
#include "include/expand.glsl"
#include "include/squares.glsl"
#include "include/panels.glsl"

layout(constant_id = 1) const bool LORA = false;
layout(constant_id = 2) const bool FINE = false; // squares are summed by SQUARES_UNIT columns, with HALF SQUARES_QUAD, else by SQUARES_BLOCK
layout(constant_id = 3) const bool HALF = false; // gamma * x is also left as halves

const uint LANES = SQUARES_BLOCK / 8;
layout(local_size_x = 256) in;

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
    uint halfPanels; // that the columns of the halves take
} push;

shared float sums[EXPAND_THREADS];

void main() {
    RowTile tile = RowTiles(push.tiles).at[gl_WorkGroupID.y];
    Team team = teamOf(tile, LANES);
    uint padded = (push.width + 7) & ~7u;
    uint column = gl_WorkGroupID.x * SQUARES_BLOCK + team.lane * 8;
    uint t = tile.first + team.row;
    bool busy = team.row < tile.count && column < padded;
    bool writes = busy && team.part == 0;

    // Loaded first, so that they are on their way while the products are added up.
    Eight x, y;
    if (writes) {
        x = floats8(push.x, t * push.xStride + column);
        y = floats8(push.y, t * push.yStride + column);
    }
    Eight delta = Eight(vec4(0.0), vec4(0.0));
    if (LORA) {
        if (busy) {
            AdapterSite site = adapterSite(push.table, tile.slot, push.sitesPerSlot, push.firstSite);
            delta = expandShare8(site, push.hidden + 4ul * (t * push.hiddenStride), padded, column, team);
        }
        delta = expandSum(delta, team, LANES);
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
    if (FINE && HALF) {
        square += subgroupShuffleXor(square, 1);
        square += subgroupShuffleXor(square, 2);
        if (writes && column % SQUARES_QUAD == 0) {
            Floats(push.squares).at[t * ((padded + SQUARES_QUAD - 1) / SQUARES_QUAD) + column / SQUARES_QUAD] = square;
        }
    }
    if (FINE) {
        return;
    }
    sums[gl_LocalInvocationIndex] = square;
    barrier();
    if (team.lane == 0 && team.part == 0 && team.row < tile.count) {
        float total = 0.0;
        for (uint i = 0; i < LANES; i++) {
            total += sums[gl_LocalInvocationIndex + i];
        }
        Floats(push.squares).at[t * gl_NumWorkGroups.x + gl_WorkGroupID.x] = total;
    }
}
