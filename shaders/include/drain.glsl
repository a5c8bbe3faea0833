// The shrink's side of arrive.glsl: its last workgroup arrives at every tile and ends those that wait. The shrink comes
// first in its stage, so these are few: the tiles that were done before it was.
#ifndef DRAIN_GLSL
#define DRAIN_GLSL

#include "arrive.glsl"

// Ends those of a subgroup's tiles that wait. first is the subgroup's first tile, width how many invocations and tiles it has. The
// kernel defines it.
void endWaiting(Epilogue e, uint first, uvec4 waiting, uint width);

// Counts this workgroup of the shrink; the last one arrives at the tiles, as many at a time as a subgroup has
// invocations, of which the workgroup's threads may be fewer.
void arriveForShrink(Epilogue e, uint thread, uint threads) {
    arriveAt(e, e.tiles, thread);
    if (arrived + 1 < gl_NumWorkGroups.x * gl_NumWorkGroups.y * gl_NumWorkGroups.z) {
        return;
    }
    if (thread == 0) {
        atomicExchange(Arrivals(e.arrivals).at[e.tiles], 0);
    }
    const uint width = min(gl_SubgroupSize, threads);
    [[dont_unroll]] for (uint first = gl_SubgroupID * width; first < e.tiles; first += gl_NumSubgroups * width) {
        const uint tile = first + gl_SubgroupInvocationID;
        bool waits = false;
        if (tile < e.tiles) {
            waits = atomicAdd(Arrivals(e.arrivals).at[tile], 1) == 1;
            if (waits) {
                atomicExchange(Arrivals(e.arrivals).at[tile], 0);
            }
        }
        const uvec4 waiting = subgroupBallot(waits);
        if (waiting != uvec4(0)) {
            memoryBarrierBuffer();
            subgroupBarrier();
            endWaiting(e, first, waiting, width);
        }
    }
}

#endif
