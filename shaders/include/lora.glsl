// What kernels see of adapters: a list of row tiles, and a pointer table [slot][site].
#ifndef LORA_GLSL
#define LORA_GLSL

#include "weights.glsl"

const uint TILE_ROWS = 8;           // most rows in one RowTile
const uint BASE_SLOT = 0xffffffffu; // the slot of rows without an adapter

// Consecutive rows of the batch that share one adapter slot.
struct RowTile {
    uint first; // row of the batch
    uint count; // at most TILE_ROWS
    uint slot;  // row of the adapter table, or BASE_SLOT
    uint pad;
};

// One adapter's low-rank pair for one site: A is [rank - biases][in], B is stored transposed, [rank][out], both of TYPE with
// rows padded with zeros to a multiple of 8. A bias beside B A x is one more row of B, whose product is 1.
struct AdapterSite {
    uint64_t A;  // address
    uint64_t B;  // address
    uint rank;   // 0: the adapter leaves this site alone
    float scale; // what B A x is multiplied with
    uint biases; // 1: the last row of B is a bias; else 0
    uint pad;
};

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer RowTiles { RowTile at[]; };
// What the shrink writes, and workgroups of the same stage may read.
layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer Hidden { float at[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer AdapterSites { AdapterSite at[]; };

// The table row of a slot's site; rank 0 for base rows, whose table row does not exist.
AdapterSite adapterSite(uint64_t table, uint slot, uint sitesPerSlot, uint site) {
    if (slot == BASE_SLOT) {
        return AdapterSite(0ul, 0ul, 0u, 0.0, 0u, 0u);
    }
    return AdapterSites(table).at[slot * sitesPerSlot + site];
}

#endif
