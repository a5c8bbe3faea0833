// Finishes q, k and v of one row and head: adds the LoRA deltas (sites q, k, v), turns q and k by RoPE, writes q back in
// place and stores k and v in the row's KV page. RoPE pairs columns i and i + D/2:
//
//	out[i]       = v[i] * cos(p, i) - v[i + D/2] * sin(p, i)
//	out[i + D/2] = v[i + D/2] * cos(p, i) + v[i] * sin(p, i)
//
// Grid: {query heads, then key heads, then value heads, so many TOGETHER; tiles; TILE_ROWS / QUAD_ROWS}. An invocation has four
// columns of each half.
#version 460
#extension GL_GOOGLE_include_directive : require

layout(constant_id = 1) const uint HEAD_DIM = 128; // a multiple of 8, at most 256
layout(constant_id = 2) const bool LORA = false;
layout(constant_id = 3) const uint TOGETHER = 1; // heads of a workgroup, all of one kind
#define SLICES 1
const bool APART = true;

#include "include/ends.glsl"
#include "include/expand_rows.glsl"

layout(local_size_x = EXPAND_THREADS) in;

layout(push_constant) uniform Push {
    uint64_t qkv;       // fp32 [t][qkvStride]: query, key, value heads; the query part is written
    uint64_t positions; // uint32 [t]
    uint64_t lanes;     // uint32 [t]: row of the page table
    uint64_t tiles;     // RowTile [gl_WorkGroupID.y]
    uint64_t pageTable; // uint32 [lane][maxPages]
    uint64_t pool;      // page p begins at pool + p * pageBytes
    uint64_t rope;      // fp32 [position][HEAD_DIM]: cosines, then sines, of each pair
    uint64_t table;     // AdapterSite [slot][sitesPerSlot]
    uint64_t hidden;    // fp32 [t][hiddenStride]
    uint qkvStride;
    uint maxPages;
    uint pageBytes;
    uint layerOffset; // bytes from a page's begin to the layer's keys
    uint heads;
    uint kvHeads;
    uint sitesPerSlot;
    uint firstSite; // table column of q
    uint hiddenStride;
    uint maxRank;
} push;

const uint HALF = HEAD_DIM / 2;
const uint HEAD_LANES = HEAD_DIM / 8;
const uint LANES = TOGETHER * HEAD_LANES; // invocations per row

void main() {
    RowTile quad = quadOf(RowTiles(push.tiles).at[gl_WorkGroupID.y]);
    if (quad.count == 0) {
        return;
    }
    Place place = placeOf(LANES);
    uint firstHead = gl_WorkGroupID.x * TOGETHER;
    uint kind = firstHead < push.heads ? 0 : firstHead < push.heads + push.kvHeads ? 1 : 2; // q, k, v
    uint head = firstHead + place.lane / HEAD_LANES;
    uint kindHeads = kind == 0 ? push.heads : push.kvHeads;
    uint kindHead = kind == 0 ? head : kind == 1 ? head - push.heads : head - push.heads - push.kvHeads;
    uint low = place.lane % HEAD_LANES * 4;
    uint t = quad.first + place.row;
    bool writes = place.row < quad.count;

    // Loaded first, so that they are on their way while the products are added up.
    uint start = t * push.qkvStride + head * HEAD_DIM + low;
    vec4 first, second, cosine, sine;
    uint position, lane;
    if (writes) {
        first = floats4(push.qkv, start);
        second = floats4(push.qkv, start + HALF);
        position = Uints(push.positions).at[t];
        lane = Uints(push.lanes).at[t];
        if (kind != 2) {
            cosine = floats4(push.rope, position * HEAD_DIM + low);
            sine = floats4(push.rope, position * HEAD_DIM + HALF + low);
        }
    }
    Eight delta = Eight(vec4(0.0), vec4(0.0));
    if (LORA) {
        AdapterSite site = adapterSite(push.table, quad.slot, push.sitesPerSlot, push.firstSite + kind);
        uint64_t hidden = push.hidden + 4ul * (kind * push.maxRank);
        uint column = kindHead * HEAD_DIM + low;
        delta = expandRows(site, quad, place, hidden, push.hiddenStride, push.maxRank, kindHeads * HEAD_DIM, column, column + HALF, true);
    }
    if (!writes) {
        return;
    }

    Eight v = add8(Eight(first, second), delta);
    if (kind != 2) {
        v = rotate(v, cosine, sine);
    }
    if (kind == 0) {
        Floats4(push.qkv).at[start >> 2] = v.lo;
        Floats4(push.qkv).at[(start + HALF) >> 2] = v.hi;
        return;
    }
    uint64_t layer = layerOf(push.pageTable + 4ul * lane * push.maxPages, position, push.pool, push.pageBytes, push.layerOffset);
    uint element = elementOf(head - push.heads, position, HEAD_DIM) + low; // values lie behind the keys
    store4(layer, element, v.lo);
    store4(layer, element + HALF, v.hi);
}
