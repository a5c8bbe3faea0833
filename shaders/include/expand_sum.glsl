// Sums of a workgroup's teams (expand.glsl), by way of shared memory.
#ifndef EXPAND_SUM_GLSL
#define EXPAND_SUM_GLSL

#include "expand.glsl"

shared vec4 sharedLow[EXPAND_THREADS];
shared vec4 sharedHigh[EXPAND_THREADS];

// Folds the shares of a row's teams; the sum is the first team's. The whole workgroup calls it.
Eight expandSum(Eight share, Team team, uint lanes) {
    if (team.parts == 1) {
        return share;
    }
    uint me = gl_LocalInvocationIndex;
    barrier(); // an earlier sum may still be read
    sharedLow[me] = share.lo;
    sharedHigh[me] = share.hi;
    barrier();
    if (team.part == 0 && me + (team.parts - 1) * lanes < EXPAND_THREADS) {
        Fold f;
        for (uint i = 0; i < team.parts; i++) {
            uint other = me + foldOrder(i, team.parts) * lanes;
            foldIn(f, i, Eight(sharedLow[other], sharedHigh[other]));
        }
        share = f.sum;
    }
    return share;
}

#endif
