// Causal attention of a chunk's rows over their KV pages, to which the chunk's own keys and values went before:
//
//	o[i,h,:] = sum_{t <= start+i} softmax_t(scale * q[i,h]·K[t]) V[t,:]
//
// A workgroup has a tile of ROWS query rows of one head and walks over the keys KEYS at a time, with a running maximum
// and sum per row: scores as a tiled product over slices of the head's columns, then the values as another.
//
// Grid: {query heads, items, 1}.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "include/items.glsl"
#include "include/pages.glsl"
#include "include/panels.glsl"

layout(constant_id = 1) const uint HEAD_DIM = 128; // a multiple of 8, at most 256
layout(constant_id = 2) const bool FLOATS = true; // the result is left as fp32 rows
layout(constant_id = 3) const bool HALF = false;  // and as halves

const uint ROWS = 32;
const uint KEYS = 64;
const uint THREADS = 128;
layout(local_size_x = 128) in;

layout(push_constant) uniform Push {
    uint64_t qkv;       // fp32 [row][qkvStride], the query heads first
    uint64_t outputs;   // fp32 [row][outStride]
    uint64_t items;     // PrefillItem [gl_WorkGroupID.y]
    uint64_t pageTable; // uint32 [lane][maxPages]
    uint64_t pool;      // page p begins at pool + p * pageBytes
    uint64_t halves;    // TYPE, in panels, written with HALF
    uint qkvStride;
    uint outStride;
    uint maxPages;
    uint pageBytes;
    uint layerOffset; // bytes from a page's begin to the layer's keys; its values follow them
    uint kvHeads;
    uint group; // query heads per key head
    float scale;
    uint halfPanels; // that the columns of the halves take
} push;

// Threads stand ACROSS by DOWN; each has EACH_ROW rows of EACH_KEY keys, and then of EACH_FOUR vectors of columns.
const uint ACROSS = 16;
const uint DOWN = 8;
const uint EACH_ROW = ROWS / DOWN;
const uint EACH_KEY = KEYS / ACROSS;
const uint FOURS = HEAD_DIM / 4; // vectors of four columns in a head
const uint EACH_FOUR = (FOURS + ACROSS - 1) / ACROSS;

// A slice of the head's columns, as vectors of four; the odd one per line keeps banks apart.
const uint SLICE = 8;
const uint SLICE_LINE = SLICE + 1;
const uint SLICES = (FOURS + SLICE - 1) / SLICE;
// A slice of the keys.
const uint VALUES = 16;
const uint SCORE_LINE = KEYS / 4 + 1;

const uint STATS = THREADS / ROWS; // threads that share a row's maximum and sum

const float LOG2E = 1.4426950408889634;
const float LOWEST = -1e30; // instead of -inf, whose differences are NaN

const uint SLICE_SPACE = (ROWS + KEYS) * SLICE_LINE;
const uint VALUE_SPACE = VALUES * FOURS;

shared vec4 score[ROWS * SCORE_LINE];
shared vec4 operands[SLICE_SPACE > VALUE_SPACE ? SLICE_SPACE : VALUE_SPACE];
shared float rescale[ROWS];
shared uint pages[KEYS];

float products[EACH_ROW * EACH_KEY];
vec4 sums[EACH_ROW * EACH_FOUR];

// Where the keys (or with skip the values) of a token of this chunk begin.
uint64_t token(uint first, uint i, uint skip) {
    uint slot = gl_WorkGroupID.x / push.group * PAGE_TOKENS + (first + i) % PAGE_TOKENS;
    return push.pool + uint64_t(pages[i]) * push.pageBytes + (push.layerOffset + skip + slot * HEAD_DIM * typeSize());
}

// Brings SLICE vectors of the queries and the keys to shared memory; vectors past the head's end count as zero.
void loadSlice(PrefillItem item, uint first, uint slice, uint thread) {
    const uint64_t q = push.qkv + (uint64_t(item.row) * push.qkvStride + gl_WorkGroupID.x * HEAD_DIM) * 4;
    [[unroll]] for (uint turn = 0; turn < ROWS * SLICE / THREADS; turn++) {
        uint i = turn * THREADS + thread;
        uint r = min(i / SLICE, item.rows - 1);
        uint four = slice * SLICE + i % SLICE;
        vec4 v = vec4(0.0);
        if (four < FOURS) {
            v = floats4(q + uint64_t(r) * push.qkvStride * 4, four * 4) * (push.scale * LOG2E);
        }
        operands[i / SLICE * SLICE_LINE + i % SLICE] = v;
    }
    [[unroll]] for (uint turn = 0; turn < KEYS * SLICE / 2 / THREADS; turn++) {
        uint i = turn * THREADS + thread;
        uint key = i / (SLICE / 2);
        uint eight = slice * (SLICE / 2) + i % (SLICE / 2);
        Eight v = Eight(vec4(0.0), vec4(0.0));
        if (eight < FOURS / 2) {
            v = load8(token(first, key, 0), eight * 8);
        }
        uint at = (ROWS + key) * SLICE_LINE + i % (SLICE / 2) * 2;
        operands[at] = v.lo;
        operands[at + 1] = v.hi;
    }
}

void multiplySlice(uint down, uint across) {
    [[unroll]] for (uint k = 0; k < SLICE; k++) {
        vec4 key[EACH_KEY];
        [[unroll]] for (uint j = 0; j < EACH_KEY; j++) {
            key[j] = operands[(ROWS + across + j * ACROSS) * SLICE_LINE + k];
        }
        [[unroll]] for (uint i = 0; i < EACH_ROW; i++) {
            vec4 q = operands[(down + i * DOWN) * SLICE_LINE + k];
            [[unroll]] for (uint j = 0; j < EACH_KEY; j++) {
                float s = products[i * EACH_KEY + j];
                s = fma(q.x, key[j].x, s);
                s = fma(q.y, key[j].y, s);
                s = fma(q.z, key[j].z, s);
                s = fma(q.w, key[j].w, s);
                products[i * EACH_KEY + j] = s;
            }
        }
    }
}

// Scores of all rows and keys, in units of log 2; keys a row must not see get the lowest.
void scores(PrefillItem item, uint first, uint thread) {
    const uint down = thread / ACROSS;
    const uint across = thread % ACROSS;
    [[unroll]] for (uint i = 0; i < EACH_ROW * EACH_KEY; i++) {
        products[i] = 0.0;
    }
    for (uint slice = 0; slice < SLICES; slice++) {
        barrier();
        loadSlice(item, first, slice, thread);
        barrier();
        multiplySlice(down, across);
    }
    [[unroll]] for (uint i = 0; i < EACH_ROW; i++) {
        uint r = down + i * DOWN;
        [[unroll]] for (uint j = 0; j < EACH_KEY; j++) {
            uint key = across + j * ACROSS;
            bool seen = first + key <= item.start + r;
            score[r * SCORE_LINE + key / 4][key % 4] = seen ? products[i * EACH_KEY + j] : LOWEST;
        }
    }
}

// Turns a row's scores into exponentials under the running maximum. STATS neighbours share a row.
void exponentials(uint row, uint part, inout float highest, inout float total) {
    float top = highest;
    [[unroll]] for (uint k = 0; k < KEYS / 4 / STATS; k++) {
        vec4 s = score[row * SCORE_LINE + k * STATS + part];
        top = max(top, max(max(s.x, s.y), max(s.z, s.w)));
    }
    [[unroll]] for (uint distance = STATS / 2; distance > 0; distance /= 2) {
        top = max(top, subgroupShuffleXor(top, distance));
    }
    vec4 four = vec4(0.0);
    [[unroll]] for (uint k = 0; k < KEYS / 4 / STATS; k++) {
        vec4 e = exp2(score[row * SCORE_LINE + k * STATS + part] - top);
        score[row * SCORE_LINE + k * STATS + part] = e;
        four += e;
    }
    float sum = (four.x + four.y) + (four.z + four.w);
    [[unroll]] for (uint distance = STATS / 2; distance > 0; distance /= 2) {
        sum += subgroupShuffleXor(sum, distance);
    }
    float factor = exp2(highest - top);
    highest = top;
    total = total * factor + sum;
    if (part == 0) {
        rescale[row] = factor;
    }
}

// Brings the values of VALUES keys to shared memory. Keys that no row sees count as zero: their weight is zero, and
// zero times what an unwritten slot holds need not be.
void loadValues(uint first, uint key0, uint seen, uint thread) {
    const uint skip = push.kvHeads * PAGE_TOKENS * HEAD_DIM * typeSize();
    for (uint i = thread; i < VALUES * FOURS / 2; i += THREADS) {
        uint key = key0 + i / (FOURS / 2);
        Eight v = Eight(vec4(0.0), vec4(0.0));
        if (first + key < seen) {
            v = load8(token(first, key, skip), i % (FOURS / 2) * 8);
        }
        operands[i * 2] = v.lo;
        operands[i * 2 + 1] = v.hi;
    }
}

void multiplyValues(uint key0, uint down, uint across) {
    [[unroll]] for (uint k = 0; k < VALUES / 4; k++) {
        vec4 p[EACH_ROW];
        [[unroll]] for (uint i = 0; i < EACH_ROW; i++) {
            p[i] = score[(down + i * DOWN) * SCORE_LINE + key0 / 4 + k];
        }
        [[unroll]] for (uint l = 0; l < 4; l++) {
            [[unroll]] for (uint j = 0; j < EACH_FOUR; j++) {
                vec4 v = operands[(k * 4 + l) * FOURS + min(across + j * ACROSS, FOURS - 1)];
                [[unroll]] for (uint i = 0; i < EACH_ROW; i++) {
                    sums[i * EACH_FOUR + j] = fma(vec4(p[i][l]), v, sums[i * EACH_FOUR + j]);
                }
            }
        }
    }
}

void addValues(uint first, uint seen, uint thread) {
    const uint down = thread / ACROSS;
    const uint across = thread % ACROSS;
    for (uint key0 = 0; key0 < KEYS; key0 += VALUES) {
        barrier();
        loadValues(first, key0, seen, thread);
        if (key0 == 0) {
            [[unroll]] for (uint i = 0; i < EACH_ROW; i++) {
                [[unroll]] for (uint j = 0; j < EACH_FOUR; j++) {
                    sums[i * EACH_FOUR + j] *= rescale[down + i * DOWN];
                }
            }
        }
        barrier();
        multiplyValues(key0, down, across);
    }
}

void store(PrefillItem item, uint thread) {
    const uint64_t o = push.outputs + (uint64_t(item.row) * push.outStride + gl_WorkGroupID.x * HEAD_DIM) * 4;
    [[unroll]] for (uint i = 0; i < EACH_ROW; i++) {
        uint r = thread / ACROSS + i * DOWN;
        [[unroll]] for (uint j = 0; j < EACH_FOUR; j++) {
            uint four = thread % ACROSS + j * ACROSS;
            if (r < item.rows && four < FOURS) {
                const vec4 v = sums[i * EACH_FOUR + j] / rescale[r];
                if (FLOATS) {
                    Floats4(o + uint64_t(r) * push.outStride * 4).at[four] = v;
                }
                if (HALF) {
                    storeHalves4(push.halves, item.row + r, gl_WorkGroupID.x * HEAD_DIM + four * 4, push.halfPanels, v);
                }
            }
        }
    }
}

void main() {
    const uint thread = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    const PrefillItem item = PrefillItems(push.items).at[gl_WorkGroupID.y];
    const uint seen = item.start + item.rows; // keys that the last row sees

    [[unroll]] for (uint i = 0; i < EACH_ROW * EACH_FOUR; i++) {
        sums[i] = vec4(0.0);
    }
    float highest = LOWEST;
    float total = 0.0;
    for (uint first = 0; first < seen; first += KEYS) {
        if (thread < KEYS) {
            uint key = min(first + thread, seen - 1);
            pages[thread] = Uints(push.pageTable).at[item.lane * push.maxPages + key / PAGE_TOKENS];
        }
        scores(item, first, thread);
        barrier();
        exponentials(thread / STATS, thread % STATS, highest, total);
        addValues(first, seen, thread);
    }
    barrier();
    if (thread % STATS == 0) {
        rescale[thread / STATS] = total;
    }
    barrier();
    store(item, thread);
}
