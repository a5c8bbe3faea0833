// What attention works on.
#ifndef ITEMS_GLSL
#define ITEMS_GLSL

#include "weights.glsl"

// Keys of one row, so many: ranges of rangeKeys keys, the last of a row maybe of fewer. The first of them is the split-th of the row's splits
// ranges. base numbers the first range of the row: its parts lie in scratch from there on. Who is done with the item goes on with that at next.
struct DecodeItem {
    uint row;
    uint lane;
    uint next; // 0: there is none
    uint count;
    uint split;
    uint splits;
    uint base;
    uint rangeKeys;
};

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer DecodeItems { DecodeItem at[]; };

// Query rows row to row + rows - 1 of one lane, at most a tile; the first is at position start.
struct PrefillItem {
    uint row;
    uint rows;
    uint lane;
    uint start;
};

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer PrefillItems { PrefillItem at[]; };

#endif
