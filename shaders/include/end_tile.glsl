// What both ways to end a tile of project_coop_many share: by blocks that pass through shared memory (end_blocks.glsl), and where lanes hold
// them (end_lanes.glsl).
#ifndef END_TILE_GLSL
#define END_TILE_GLSL

// Where a subgroup's blocks are: the tile's first row, and the blocks' first row in the tile and first unit.
struct Corner {
    uint tileT;
    uint row;
    uint unit;
};

// Leaves the sum of a row's squares over the tile's columns.
void endRowSquares(Epilogue e, uint firstT, uint tile, uint thread) {
    barrier();
    const uint tiles = (e.units * 8 + BLOCKS_N * 16 - 1) / (BLOCKS_N * 16);
    for (uint row = thread; row < TILE_T; row += THREADS) {
        float sum = 0.0;
        [[unroll]] for (uint i = 0; i < SUBGROUPS_N; i++) {
            sum += rowSquares[i * TILE_T + row];
        }
        if (firstT * 16 + row < push.tokens && rowSlots[row] != NO_ROW) {
            Floats(e.squares).at[(firstT * 16 + row) * tiles + tile] = sum;
        }
    }
}

#endif
