// The end of a tile of project_coop_many: two blocks of 16 rows by 16 outputs of a subgroup at a time go through its patches in shared
// memory, out of which invocations end units of eight outputs each.
#ifndef END_BLOCKS_GLSL
#define END_BLOCKS_GLSL

#include "end_tile.glsl"

const uint LANES = THREADS / SUBGROUPS;                           // of a subgroup
const uint PAIRS_EACH = 64 > 2 * LANES ? 64 / (2 * LANES) : 1; // of an invocation's units in two blocks

// A row of one of the four units in the subgroup's patches.
Eight patchUnit(uint row, uint unit) {
    const uint first = (gl_SubgroupID * 2 * PATCH + row * PATCH_STRIDE) / 4; // in fours
    const uint low = PAIRS ? first + unit : first + unit / 2 * (PATCH / 4) + unit % 2 * 2;
    const uint high = low + (PAIRS ? PATCH / 4 : 1);
    return Eight(uintBitsToFloat(pool[low]), uintBitsToFloat(pool[high]));
}

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
    const bool some = inBlocks < 64 && (ENDING == END_NONE ? unit * 8 < push.outputs : unit < e.units && rowSlots[row] != NO_ROW);
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

void endOne(Epilogue e, uint block, Unit u, Given given) {
    float square = 0.0;
    if (u.inside) {
        Eight outputs = patchUnit(u.inBlocks / 4, u.inBlocks % 4);
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

// Two units of an invocation, the second LANES behind the first in their blocks, and what they are given. No array: a loop over it would not be
// unrolled, and it would end up in memory.
struct Pair {
    Unit one;
    Unit two;
    Given forOne;
    Given forTwo;
};

// Starts to load what the pair from first on in two neighbouring blocks is given.
Pair beginPair(Epilogue e, Corner c, uint block, uint first) {
    Pair p;
    p.one = unitOf(e, c, block, first);
    p.two = unitOf(e, c, block, first + LANES);
    if (ENDING != END_NONE) {
        p.forOne = givenTo(e, p.one.t, p.one.unit, p.one.inside);
        p.forTwo = givenTo(e, p.two.t, p.two.unit, p.two.inside);
    }
    return p;
}

// Ends the outputs of two neighbouring blocks, by way of the subgroup's patches. next is the invocation's first pair of them, begun, and
// becomes that of the next two, or the last.
void endBlocks(Epilogue e, Corner c, uint block, inout Pair next, uint lane) {
    [[unroll]] for (uint i = 0; i < 2 * ACROSS; i++) {
        const uint at = i % ACROSS;
        const uint corner = (gl_SubgroupID * 2 + i / ACROSS) * PATCH + at / ACROSS_N * SIZE_M * PATCH_STRIDE + at % ACROSS_N * SIZE_N;
        coopMatStore(sums[block * ACROSS + i], pool, corner / 4, PATCH_STRIDE / 4, gl_CooperativeMatrixLayoutRowMajor);
    }
    controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
    [[unroll]] for (uint i = 0; i < PAIRS_EACH; i++) {
        const Pair p = next;
        const bool last = i + 1 == PAIRS_EACH;
        next = beginPair(e, c, last ? min(block + 2, BLOCKS_EACH - 2) : block, lane + (last ? 0 : (i + 1) * 2 * LANES));
        endOne(e, block, p.one, p.forOne);
        endOne(e, block, p.two, p.forTwo);
    }
    controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
}

// Ends the subgroup's outputs. Not a loop: with barriers inside it may not be unrolled, and the sums would end up in memory.
void endAllBlocks(Epilogue e, Corner c, uint lane) {
    Pair next = beginPair(e, c, 0, lane);
    endBlocks(e, c, 0, next, lane);
    if (BLOCKS_EACH > 2) {
        endBlocks(e, c, 2, next, lane);
    }
    if (BLOCKS_EACH > 4) {
        endBlocks(e, c, 4, next, lane);
        endBlocks(e, c, 6, next, lane);
    }
    if (BLOCKS_EACH > 8) {
        endBlocks(e, c, 8, next, lane);
        endBlocks(e, c, 10, next, lane);
        endBlocks(e, c, 12, next, lane);
        endBlocks(e, c, 14, next, lane);
    }
}

#endif
