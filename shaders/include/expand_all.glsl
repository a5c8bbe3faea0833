// The second half of a LoRA product by one invocation, to the bit what several of expand.glsl add up.
#ifndef EXPAND_ALL_GLSL
#define EXPAND_ALL_GLSL

#include "expand.glsl"

// scale * sum_r B[r, n] * hidden[r] at two runs of four columns. Of each leaf one row is on its way at a time: what was written by other
// workgroups of the stage comes from far, and its latency should be paid once for eight rows.
Eight expandAll(AdapterSite site, uint64_t hidden, uint stride, uint low, uint high) {
    Eight leaves[EXPAND_PARTS];
    [[unroll]] for (uint l = 0; l < EXPAND_PARTS; l++) {
        leaves[l] = Eight(vec4(0.0), vec4(0.0));
    }
    [[dont_unroll]] for (uint first = 0; first < site.rank; first += EXPAND_PARTS) {
        [[unroll]] for (uint l = 0; l < EXPAND_PARTS; l++) {
            const uint r = first + l;
            if (r < site.rank) {
                const float h = site.scale * Hidden(hidden).at[r];
                leaves[l].lo = fma(vec4(h), load4(site.B, r * stride + low), leaves[l].lo);
                leaves[l].hi = fma(vec4(h), load4(site.B, r * stride + high), leaves[l].hi);
            }
        }
    }
    Fold f;
    [[unroll]] for (uint i = 0; i < EXPAND_PARTS; i++) {
        foldIn(f, i, leaves[foldOrder(i, EXPAND_PARTS)]);
    }
    return f.sum;
}

#endif
