// How the shrink ends tiles that wait, unit by unit, each by one invocation.
#ifndef DRAIN_UNITS_GLSL
#define DRAIN_UNITS_GLSL

#include "drain.glsl"

void endWaiting(Epilogue e, uint first, uvec4 waiting, uint width) {
    const uint each = e.tileUnits * e.tileRows;
    [[dont_unroll]] for (uint i = gl_SubgroupInvocationID; i < width * each; i += width) {
        const uint tile = first + i / each;
        const uint unit = tile / e.rowTiles * e.tileUnits + i % each % e.tileUnits;
        const uint t = tile % e.rowTiles * e.tileRows + i % each / e.tileUnits;
        if (subgroupBallotBitExtract(waiting, i / each) && unit < e.units && t < e.rows) {
            const uvec2 at = placesOf(e, t, unit);
            endUnit(e, t, Uints(e.slots).at[t], unit, Eight(Waiting(e.outputs).at[at.x], Waiting(e.outputs).at[at.y]), 0, 1);
        }
    }
}

#endif
