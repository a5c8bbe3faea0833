// The end of a tile of a projection, out of its outputs in the workgroup's shared memory.
#ifndef TILE_GLSL
#define TILE_GLSL

#include "epilogue.glsl"

// Outputs of the tile in the order of units, and the slot of a row of the tile; the kernel defines them.
Eight tileOutputs(uint unit, uint row);
uint tileSlot(Epilogue e, uint row);

// Ends the tile-th tile of units by rows; rowTiles neighbours have the same outputs.
void endTile(Epilogue e, uint tile, uint rowTiles, uint units, uint rows, uint thread, uint threads) {
    const uint firstUnit = tile / rowTiles * units;
    const uint firstRow = tile % rowTiles * rows;
    // Where there are more invocations than units, several share the rank of one; four units of a row are in one subgroup.
    rows = min(rows, e.rows - firstRow);
    const uint parts = LORA && !WHOLE ? 1u << findMSB(clamp(threads / (units * rows), 1, min(EXPAND_PARTS, gl_SubgroupSize / 4))) : 1;
    [[dont_unroll]] for (uint i = thread / parts; i < units * rows; i += threads / parts) {
        const uint unit = firstUnit + i % units;
        const uint t = firstRow + i / units;
        if (unit < e.units) {
            endUnit(e, t, tileSlot(e, i / units), unit, tileOutputs(i % units, i / units), thread % parts, parts);
        }
    }
}

#endif
