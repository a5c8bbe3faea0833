// Attention of single rows over their KV pages on a CPU's lanes: each lane has every eighth key, with a maximum, a sum
// and outputs of its own for HEADS query heads of one key head; the lanes are folded together at the end.
//
//	o[h,:] = sum_t softmax_t(scale * q[h]·K[t]) V[t,:]
//
// Grid: {query heads / HEADS, items, 1}.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_arithmetic : require

#include "include/lanes.glsl"
#include "include/pages.glsl"
#include "include/items.glsl"

layout(constant_id = 1) const uint HEAD_DIM = 128; // a multiple of 8, at most 256
layout(constant_id = 2) const uint HEADS = 1;      // query heads at once, a divisor of those per key head

const uint THREADS = 8; // one subgroup
layout(local_size_x = 8) in;

layout(push_constant) uniform Push {
    uint64_t qkv;       // fp32 [row][qkvStride], the query heads first
    uint64_t outputs;   // fp32 [row][outStride]
    uint64_t items;     // DecodeItem [gl_WorkGroupID.y], each with all keys of its row
    uint64_t pageTable; // uint32 [lane][maxPages]
    uint64_t pool;      // page p begins at pool + p * pageBytes
    uint qkvStride;
    uint outStride;
    uint maxPages;
    uint pageBytes;
    uint layerOffset; // bytes from a page's begin to the layer's keys; its values follow them
    uint kvHeads;
    uint group; // query heads per key head
    float scale;
} push;

const uint VECTORS = HEAD_DIM / 8;
const uint SPREADS = (HEAD_DIM + 15) / 16;
const float LOG2E = 1.4426950408889634;
const float LOWEST = -1e30; // instead of -inf, whose differences are NaN

void main() {
    const uint lane = gl_SubgroupInvocationID;
    const DecodeItem item = DecodeItems(push.items).at[gl_WorkGroupID.y];
    const uint head0 = gl_WorkGroupID.x * HEADS;
    const uint keyBytes = PAGE_TOKENS * HEAD_DIM * typeSize(); // of one head in a page
    const uint headOffset = push.layerOffset + head0 / push.group * keyBytes;
    const uint valueOffset = push.kvHeads * keyBytes;

    vec2 query[HEADS * SPREADS];
    const uint64_t q = push.qkv + (uint64_t(item.row) * push.qkvStride + head0 * HEAD_DIM) * 4;
    [[unroll]] for (uint i = 0; i < HEADS * SPREADS; i++) {
        uint at = min(i % SPREADS * 16 + pairOffset(), HEAD_DIM - 2);
        query[i] = floatPair(q, i / SPREADS * HEAD_DIM + at) * (push.scale * LOG2E);
    }
    float highest[HEADS];
    float total[HEADS];
    float sums[HEADS * HEAD_DIM];
    [[unroll]] for (uint h = 0; h < HEADS; h++) {
        highest[h] = LOWEST;
        total[h] = 0.0;
    }
    [[unroll]] for (uint i = 0; i < HEADS * HEAD_DIM; i++) {
        sums[i] = 0.0;
    }

    for (uint first = 0; first < item.count; first += THREADS) {
        const uint key = min(first + lane, item.count - 1);
        const uint page = Uints(push.pageTable).at[item.lane * push.maxPages + key / PAGE_TOKENS];
        const uint64_t k = push.pool + uint64_t(page) * push.pageBytes + headOffset + key % PAGE_TOKENS * HEAD_DIM * typeSize();

        float scores[HEADS];
        [[unroll]] for (uint h = 0; h < HEADS; h++) {
            scores[h] = 0.0;
        }
        [[unroll]] for (uint v = 0; v < VECTORS; v++) {
            Eight keys = lane8(k, v * 8);
            [[unroll]] for (uint h = 0; h < HEADS; h++) {
                [[unroll]] for (uint i = 0; i < 8; i++) {
                    float qi = SPREAD(query[h * SPREADS + v / 2], v % 2 * 8 + i);
                    scores[h] = fma(pick8(keys, i), qi, scores[h]);
                }
            }
        }
        float weights[HEADS];
        float rescale[HEADS];
        [[unroll]] for (uint h = 0; h < HEADS; h++) {
            float top = first + lane < item.count ? max(highest[h], scores[h]) : highest[h];
            rescale[h] = exp2(highest[h] - top);
            weights[h] = first + lane < item.count ? exp2(scores[h] - top) : 0.0;
            highest[h] = top;
            total[h] = total[h] * rescale[h] + weights[h];
        }
        [[unroll]] for (uint v = 0; v < VECTORS; v++) {
            Eight values = lane8(k + valueOffset, v * 8);
            [[unroll]] for (uint h = 0; h < HEADS; h++) {
                [[unroll]] for (uint i = 0; i < 8; i++) {
                    uint at = h * HEAD_DIM + v * 8 + i;
                    sums[at] = fma(weights[h], pick8(values, i), sums[at] * rescale[h]);
                }
            }
        }
    }

    const uint64_t o = push.outputs + (uint64_t(item.row) * push.outStride + head0 * HEAD_DIM) * 4;
    [[unroll]] for (uint h = 0; h < HEADS; h++) {
        float factor = exp2(highest[h] - subgroupMax(highest[h]));
        float inverse = 1.0 / subgroupAdd(total[h] * factor);
        [[unroll]] for (uint v = 0; v < VECTORS; v++) {
            float mine = 0.0;
            [[unroll]] for (uint i = 0; i < 8; i++) {
                float sum = subgroupAdd(sums[h * HEAD_DIM + v * 8 + i] * factor);
                mine = lane == i ? sum : mine;
            }
            Floats(o).at[h * HEAD_DIM + v * 8 + lane] = mine * inverse;
        }
    }
}
