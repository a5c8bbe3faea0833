// The first half of every LoRA product of one input: hidden[t, s*maxRank + r] = inv(t) * sum_k A_s[r,k] * gamma[k] * x[t,k]
// for r below the rank the tile's adapter has at site s. A is read once for all rows of the tile.
// Grid: {blocks of RANKS, adapter tiles, sites}.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

#include "include/lora.glsl"
#include "include/norm.glsl"

layout(constant_id = 1) const bool NORM = false; // x is read through an RMS norm

const uint THREADS = 256;
const uint RANKS = 4;               // rows of A a workgroup has
const uint MOST_SUBGROUPS = 32;     // subgroups are of 8 and more
layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint64_t tiles;   // RowTile [gl_WorkGroupID.y]
    uint64_t table;   // AdapterSite [slot][sitesPerSlot]
    uint64_t x;       // fp32 [t][xStride]
    uint64_t hidden;  // fp32 [t][hiddenStride], written
    uint64_t gamma;   // TYPE [width]
    uint64_t squares; // fp32 [t][parts]
    uint sitesPerSlot;
    uint firstSite; // table column of site 0
    uint xStride;
    uint width; // of x
    uint hiddenStride;
    uint maxRank; // columns of hidden per site
    uint parts;
    float eps;
} push;

shared float sums[MOST_SUBGROUPS][TILE_ROWS * RANKS];

void main() {
    RowTile tile = RowTiles(push.tiles).at[gl_WorkGroupID.y];
    AdapterSite site = adapterSite(push.table, tile.slot, push.sitesPerSlot, push.firstSite + gl_WorkGroupID.z);
    uint firstRank = gl_WorkGroupID.x * RANKS;
    if (firstRank >= site.rank) {
        return;
    }
    uint stride = (push.width + 7) & ~7u;
    float acc[TILE_ROWS * RANKS];
    [[unroll]] for (uint i = 0; i < TILE_ROWS * RANKS; i++) {
        acc[i] = 0.0;
    }
    for (uint k = gl_LocalInvocationIndex * 8; k < stride; k += THREADS * 8) {
        Eight a[RANKS];
        [[unroll]] for (uint i = 0; i < RANKS; i++) {
            // Past the rank the last row again: its sums are never written.
            a[i] = load8(site.A, min(firstRank + i, site.rank - 1) * stride + k);
        }
        if (NORM) {
            Eight gamma = load8(push.gamma, k);
            [[unroll]] for (uint i = 0; i < RANKS; i++) {
                a[i] = mul8(a[i], gamma);
            }
        }
        [[unroll]] for (uint row = 0; row < TILE_ROWS; row++) {
            if (row < tile.count) {
                Eight x = floats8(push.x, (tile.first + row) * push.xStride + k);
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
    uint row = gl_LocalInvocationIndex / RANKS;
    uint rank = firstRank + gl_LocalInvocationIndex % RANKS;
    if (row >= tile.count || rank >= site.rank) {
        return;
    }
    float total = 0.0;
    for (uint s = 0; s < gl_NumSubgroups; s++) {
        total += sums[s][gl_LocalInvocationIndex];
    }
    uint t = tile.first + row;
    if (NORM) {
        total *= inverseNorm(push.squares, t, push.parts, push.width, push.eps);
    }
    Floats(push.hidden).at[t * push.hiddenStride + gl_WorkGroupID.z * push.maxRank + rank] = total;
}
