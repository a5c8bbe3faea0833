// The end of a tile of project_coop_many: two blocks of 16 rows by 16 outputs of a subgroup at a time go through its patches in shared
// memory, out of which invocations end units of eight outputs each.
#ifndef END_BLOCKS_GLSL
#define END_BLOCKS_GLSL

// A row of one of the four units in the subgroup's patches.
Eight patchUnit(uint row, uint unit) {
    const uint first = gl_SubgroupID * 2 * PATCH + row * PATCH_STRIDE;
    const uint low = PAIRS ? first + unit * 4 : first + unit / 2 * PATCH + unit % 2 * 8;
    const uint high = low + (PAIRS ? PATCH : 4);
    return Eight(vec4(patches[low], patches[low + 1], patches[low + 2], patches[low + 3]),
                 vec4(patches[high], patches[high + 1], patches[high + 2], patches[high + 3]));
}

// Where a subgroup's blocks are: the tile's first row, and the blocks' first row in the tile and first unit.
struct Corner {
    uint tileT;
    uint row;
    uint unit;
};

// A unit of two neighbouring blocks: of the row-th row of the tile, the inBlocks-th in them; inside where there is such a unit to end.
struct Unit {
    uint t;
    uint row;
    uint unit;
    uint inBlocks;
    bool inside;
};

Unit unitOf(Epilogue e, Corner c, uint block, uint inBlocks) {
    const uint row = c.row + block / EACH_N * 16 + inBlocks / 4;
    const uint unit = c.unit + block % EACH_N * 2 + inBlocks % 4;
    const bool some = ENDING == END_NONE ? unit * 8 < push.outputs : unit < e.units && rowSlots[row] != NO_ROW;
    return Unit(c.tileT + row, row, unit, inBlocks, some && c.tileT + row < push.tokens);
}

// Stores a unit's outputs as they are, and zeros behind the last one.
void storeUnit(uint t, uint unit, Eight v) {
    const uint n = unit * 8;
    const uint at = (t * push.yStride + n) >> 2;
    Floats4(push.y).at[at] = clip(v.lo, n, push.outputs);
    Floats4(push.y).at[at + 1] = clip(v.hi, n + 4, push.outputs);
}

// Keeps the squares of four units of a row, whose invocations call this together, inside or not.
void keepSquares(Epilogue e, uint block, Unit u, float square) {
    if (FINE) {
        endSquares(e, u.t, u.unit, square, 1, u.inside);
        return;
    }
    square = quadSquares(e, u.unit, square, 1);
    if (u.inBlocks % 4 == 0) {
        const uint at = gl_SubgroupID / SUBGROUPS_M * TILE_T + u.row;
        rowSquares[at] = block % EACH_N == 0 ? square : rowSquares[at] + square;
    }
}

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

void endOne(Epilogue e, uint block, Unit u, Given given) {
    float square = 0.0;
    if (u.inside) {
        Eight outputs = patchUnit(u.inBlocks / 4, u.inBlocks % 4);
        if (LORA && !WHOLE) {
            outputs = add8(outputs, deltaShare(e, u.t, rowSlots[u.row], u.unit, 0, 1));
        }
        if (ENDING == END_NONE) {
            storeUnit(u.t, u.unit, outputs);
        } else if (ENDING == END_ROPE_STORE) {
            endRopeStore(e, u.t, u.unit, outputs, given);
        } else if (ENDING == END_RESIDUAL) {
            square = endResidual(e, u.t, u.unit, outputs, given);
        } else {
            endSiluMul(e, u.t, u.unit, outputs);
        }
    }
    if (ENDING == END_RESIDUAL) {
        keepSquares(e, block, u, square);
    }
}

// Ends the outputs of two neighbouring blocks, by way of the subgroup's patches.
void endBlocks(Epilogue e, Corner c, uint block, uint lane) {
    [[unroll]] for (uint i = 0; i < 2 * ACROSS; i++) {
        const uint at = i % ACROSS;
        coopMatStore(sums[block * ACROSS + i], patches,
                     (gl_SubgroupID * 2 + i / ACROSS) * PATCH + at / ACROSS_N * SIZE_M * PATCH_STRIDE + at % ACROSS_N * SIZE_N, PATCH_STRIDE,
                     gl_CooperativeMatrixLayoutRowMajor);
    }
    controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
    for (uint first = lane; first < 64; first += 2 * (THREADS / SUBGROUPS)) {
        Unit units[2];
        Given givens[2]; // on their way together
        [[unroll]] for (uint i = 0; i < 2; i++) {
            units[i] = unitOf(e, c, block, first + i * (THREADS / SUBGROUPS));
            if (ENDING != END_NONE && units[i].inside) {
                givens[i] = givenTo(e, units[i].t, units[i].unit);
            }
        }
        [[unroll]] for (uint i = 0; i < 2; i++) {
            endOne(e, block, units[i], givens[i]);
        }
    }
    controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
}

#endif
