// Token embedding: x[t,n] = E[id(t),n] + scale * sum_r B[r,n] * A[r,id(t)], and the squares of x summed by SQUARES_UNIT
// columns, or where halves are left beside by SQUARES_QUAD.
// Grid: {blocks of columns, rows, 1}; an invocation has four columns.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "include/flow.glsl"
#include "include/lora.glsl"
#include "include/squares.glsl"
#include "include/panels.glsl"
#include "include/weights.glsl"

layout(constant_id = 1) const bool LORA = false;
layout(constant_id = 2) const bool HALF = false; // gamma * x is also left as halves

const uint THREADS = 64;
const uint COLUMNS = 256; // of a workgroup
layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint64_t table;      // E, TYPE [id][tableStride]
    uint64_t tokens;     // uint32 [t]: an id, or FROM_LAST | lane
    uint64_t lastTokens; // uint32 [lane]: what the step before sampled
    uint64_t x;          // fp32 [t][xStride], written
    uint64_t squares;    // fp32 [t][unit], written
    uint64_t slots;      // uint32 [t]: a row of sites, or BASE_SLOT
    uint64_t sites;      // AdapterSite [slot][sitesPerSlot]
    uint64_t halves;     // TYPE, in panels, written with HALF
    uint64_t gamma;      // TYPE [width]: of the first norm
    uint64_t flow;       // counters of the stages that flow, see include/flow.glsl, written; who waits for the first finds nobody owed
    uint64_t owed;       // uvec2 [flowKinds]: workgroups of a stage and of its shrink; kinds take turns
    uint tableStride;
    uint xStride;
    uint width;
    uint vocabulary; // tokens, the columns of A
    uint sitesPerSlot;
    uint site;
    uint halfPanels; // that the columns of the halves take
    uint flowStages; // 0: none flows
    uint flowKinds;
} push;

const uint FROM_LAST = 0x80000000u; // marks a token that is sampled on the device

shared float products[THREADS];

// Four columns of scale * B A of one token, whose products are a column of A. They lie far apart, so each invocation loads
// one of them. The whole workgroup calls it.
vec4 deltaOf(AdapterSite site, uint id, uint thread, uint column) {
    uint strideA = (push.vocabulary + 7) & ~7u;
    uint strideB = (push.width + 7) & ~7u;
    vec4 sum = vec4(0.0);
    for (uint first = 0; first < site.rank; first += THREADS) {
        uint count = min(THREADS, site.rank - first);
        barrier(); // earlier ones may still be read
        if (thread < count) {
            products[thread] = site.scale * load1(site.A, (first + thread) * strideA + id);
        }
        barrier();
        if (column < strideB) {
            for (uint r = 0; r < count; r++) {
                sum += products[r] * load4(site.B, (first + r) * strideB + column);
            }
        }
    }
    return sum;
}

// Sets the counters of the stages that flow.
void beginFlow(uint thread) {
    for (uint stage = thread; stage < push.flowStages; stage += THREADS) {
        const uvec2 owed = Uints2(push.owed).at[stage % push.flowKinds];
        Owed(push.flow).at[(stage + 1) * FLOW_STRIDE] = owed.x;
        Owed(push.flow).at[(stage + 1) * FLOW_STRIDE + FLOW_SHRINK] = owed.y;
    }
    if (thread == 0 && push.flowStages > 0) {
        Owed(push.flow).at[0] = 0;
    }
}

void main() {
    uint t = gl_WorkGroupID.y;
    uint id = Uints(push.tokens).at[t];
    if ((id & FROM_LAST) != 0) {
        id = Uints(push.lastTokens).at[id & ~FROM_LAST];
    }
    uint padded = (push.width + 7) & ~7u;
    uint thread = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    uint column = gl_WorkGroupID.x * COLUMNS + thread * 4;
    if (gl_WorkGroupID.xy == uvec2(0)) {
        beginFlow(thread);
    }
    vec4 delta = vec4(0.0);
    if (LORA) {
        delta = deltaOf(adapterSite(push.sites, Uints(push.slots).at[t], push.sitesPerSlot, push.site), id, thread, column);
    }
    float square = 0.0;
    if (column < padded) {
        uint64_t row = push.table + uint64_t(id) * push.tableStride * typeSize();
        vec4 v = mix(vec4(0.0), load4(row, column), lessThan(column + uvec4(0, 1, 2, 3), uvec4(push.width)));
        if (LORA) {
            v += delta;
        }
        Floats4(push.x).at[(t * push.xStride + column) >> 2] = v;
        square = dot(v, v);
        if (HALF) {
            storeHalves4(push.halves, t, column, push.halfPanels, v * load4(push.gamma, column));
        }
    }
    square += subgroupShuffleXor(square, 1);
    if (HALF) {
        square += subgroupShuffleXor(square, 2);
        square += subgroupShuffleXor(square, 4);
    }
    const uint block = HALF ? SQUARES_QUAD : SQUARES_UNIT;
    if (column < padded && column % block == 0) {
        Floats(push.squares).at[t * ((padded + block - 1) / block) + column / block] = square;
    }
}
