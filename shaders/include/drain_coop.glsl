// How the shrink ends tiles that wait where cooperative matrices multiply B: a subgroup takes a tile, by 16 rows and four units at a time,
// whose two blocks of deltas lie in partial.
#ifndef DRAIN_COOP_GLSL
#define DRAIN_COOP_GLSL

#include "delta_coop.glsl"
#include "drain.glsl"

// Ends the rows of a tile from a row on, and four of its units, out of the outputs that wait and the subgroup's two blocks.
void endQuad(Epilogue e, uint firstRow, uint firstUnit, uint lane) {
    [[unroll]] for (uint i = lane; i < 16 * QUAD_UNITS; i += 32) {
        const uint unit = firstUnit + i % QUAD_UNITS;
        const uint t = firstRow + i / QUAD_UNITS;
        if (unit < e.units && t < e.rows) {
            const uvec2 at = placesOf(e, t, unit);
            const Eight outputs = Eight(Waiting(e.outputs).at[at.x], Waiting(e.outputs).at[at.y]);
            endUnit(e, t, Uints(e.slots).at[t], unit, add8(outputs, deltaUnit(gl_SubgroupID * 2, 1, i / QUAD_UNITS, unit)), 0, 1);
        }
    }
}

void endWaiting(Epilogue e, uint first, uvec4 waiting, uint width) {
    const uint lane = gl_SubgroupInvocationID;
    [[dont_unroll]] for (uint left = waiting.x; left != 0; left &= left - 1) {
        const uint tile = first + findLSB(left);
        const uint quads = e.tileUnits / QUAD_UNITS;
        [[dont_unroll]] for (uint i = 0; i < e.tileRows / 16 * quads; i++) {
            const uint firstRow = tile % e.rowTiles * e.tileRows + i / quads * 16;
            const uint firstUnit = tile / e.rowTiles * e.tileUnits + i % quads * QUAD_UNITS;
            const uint t = firstRow + lane % 16;
            const uint slot = t < e.rows ? Uints(e.slots).at[t] : NO_ROW;
            [[dont_unroll]] for (uint block = 0; block < 2; block++) {
                Delta d = deltaOf(e, slot, blockColumn(e, firstUnit, block), 0, 1, lane);
                beginDelta(d, lane);
                coopMatStore(addUpDelta(d, e, firstRow, lane), partial, (gl_SubgroupID * 2 + block) * 256, 16, gl_CooperativeMatrixLayoutRowMajor);
            }
            controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
            endQuad(e, firstRow, firstUnit, lane);
            controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
        }
    }
}

#endif
