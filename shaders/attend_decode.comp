// Attention of single rows over their KV pages. A workgroup reads ranges of keys of some rows, one after the other, for one key head and
// serves all query heads of that key head from them, so K and V are read once:
//
//	o[h,:] = sum_t softmax_t(scale * q[h]·K[t]) V[t,:]
//
// with a running maximum and sum per head. Where a row has several ranges, each leaves its unnormalised part in scratch, and whoever
// arrives last folds the parts together in the order of the keys. So the bits of a row do not depend on how many ranges a workgroup has.
//
// Grid: {key heads, workgroups, 1}. The i-th workgroup of a head begins with the i-th item.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#define LEFT coherent
#include "include/flow.glsl"
#include "include/items.glsl"
#include "include/pages.glsl"
#include "include/panels.glsl"

layout(constant_id = 1) const uint HEAD_DIM = 128; // a multiple of 8, at most 256
layout(constant_id = 2) const uint GROUP = 4;      // query heads per key head, at most 16
layout(constant_id = 3) const bool FLOATS = true; // the result is left as fp32 rows
layout(constant_id = 4) const bool HALF = false;  // and as halves
layout(constant_id = 5) const bool FLOW = false;  // the stages around this one flow

const uint THREADS = 128;
layout(local_size_x = 128) in;

layout(buffer_reference, std430, buffer_reference_align = 16) coherent buffer Parts { vec4 at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer Counters { uint at[]; };

layout(push_constant) uniform Push {
    uint64_t qkv;       // fp32 [row][qkvStride], the query heads first
    uint64_t outputs;   // fp32 [row][outStride]
    uint64_t items;     // DecodeItem [workgroup], then those that follow
    uint64_t pageTable; // uint32 [lane][maxPages]
    uint64_t pool;      // page p begins at pool + p * pageBytes
    uint64_t scratch;   // fp32 [range][key head] parts
    uint64_t counters;  // uint32 [row][key head], zero between dispatches
    uint64_t halves;    // TYPE, in panels, written with HALF
    uint64_t flow;      // the counters of the stage before, see include/flow.glsl, with FLOW
    uint qkvStride;
    uint outStride;
    uint maxPages;
    uint pageBytes;
    uint layerOffset; // bytes from a page's begin to the layer's keys; its values follow them
    uint kvHeads;
    float scale;
    uint halfPanels; // that the columns of the halves take
} push;

const uint VECTORS = HEAD_DIM / 8; // loads of eight elements per token and head

// Scores: KEY_LANES invocations share a key, each group of them has KEYS keys at once.
const uint KEY_LANES = 4;
const uint KEY_GROUPS = THREADS / KEY_LANES;
const uint KEYS = 2;
const uint CHUNK = KEY_GROUPS * KEYS;
const uint KEY_VECTORS = (VECTORS + KEY_LANES - 1) / KEY_LANES;

// Values: each invocation has one vector of columns, and takes keys in fours.
const uint VALUE_GROUPS = THREADS / VECTORS < CHUNK / 4 ? THREADS / VECTORS : CHUNK / 4;
const uint FOURS = (CHUNK / 4 + VALUE_GROUPS - 1) / VALUE_GROUPS;

// Heads whose sums are folded together. More would save barriers, but the shared memory costs more than they do.
const uint HEADS_AT_ONCE = GROUP == 1 ? 1 : GROUP * HEAD_DIM > 2048 ? 1 : 2;

const float LOG2E = 1.4426950408889634;
const float LOWEST = -1e30; // instead of -inf, whose differences are NaN

shared vec4 query[GROUP * HEAD_DIM / 4];
shared vec4 score[2 * GROUP * CHUNK / 4]; // [turn][head][key]: scores, then their exponentials
shared float highest[GROUP];
shared float total[GROUP];
shared float rescale[GROUP];
shared uint pages[2 * CHUNK]; // [turn][key]
shared vec4 fold[HEADS_AT_ONCE * THREADS * 2];
shared bool last;
shared uvec4 following[2 * 2]; // [turn]: the item at next

Raw8 keys[KEYS * KEY_VECTORS];
Raw8 values[FOURS * 4];
vec4 sumLo[GROUP];
vec4 sumHi[GROUP];

uint firstKey(DecodeItem item) { return item.split * item.rangeKeys; }

uint pageOf(DecodeItem item, uint key) {
    return Uints(push.pageTable).at[item.lane * push.maxPages + (firstKey(item) + min(key, item.count - 1)) / PAGE_TOKENS];
}

// Where the key (or with skip its value) of a token of this chunk begins. Keys past the end repeat the last one:
// their weight is zero, and zero times what an unwritten slot holds need not be.
uint64_t token(DecodeItem item, uint chunk, uint turn, uint i, uint skip) {
    uint slot = (firstKey(item) + min(chunk + i, item.count - 1)) % PAGE_TOKENS;
    uint within = push.layerOffset + skip + (gl_WorkGroupID.x * PAGE_TOKENS + slot) * HEAD_DIM * typeSize();
    return push.pool + uint64_t(pages[turn * CHUNK + i]) * push.pageBytes + within;
}

void loadQuery(DecodeItem item, uint thread) {
    uint64_t from = push.qkv + (uint64_t(item.row) * push.qkvStride + gl_WorkGroupID.x * GROUP * HEAD_DIM) * 4;
    [[dont_unroll]] for (uint i = thread; i < GROUP * HEAD_DIM / 4; i += THREADS) {
        query[i] = Floats4(from).at[i] * (push.scale * LOG2E);
    }
}

void loadKeys(DecodeItem item, uint chunk, uint turn, uint thread) {
    [[unroll]] for (uint j = 0; j < KEYS; j++) {
        uint64_t from = token(item, chunk, turn, j * KEY_GROUPS + thread / KEY_LANES, 0);
        [[unroll]] for (uint v = 0; v < KEY_VECTORS; v++) {
            uint vector = v * KEY_LANES + thread % KEY_LANES;
            keys[j * KEY_VECTORS + v] = Raw8(uvec4(0), uvec4(0));
            if (vector < VECTORS) {
                keys[j * KEY_VECTORS + v] = loadRaw8(from, vector * 8);
            }
        }
    }
}

void loadValues(DecodeItem item, uint chunk, uint turn, uint thread) {
    const uint group = thread / VECTORS;
    const uint valueOffset = push.kvHeads * PAGE_TOKENS * HEAD_DIM * typeSize();
    [[unroll]] for (uint f = 0; f < FOURS; f++) {
        uint four = f * VALUE_GROUPS + group;
        [[unroll]] for (uint i = 0; i < 4; i++) {
            values[f * 4 + i] = Raw8(uvec4(0), uvec4(0));
            if (group < VALUE_GROUPS && four < CHUNK / 4) {
                values[f * 4 + i] = loadRaw8(token(item, chunk, turn, four * 4 + i, valueOffset), thread % VECTORS * 8);
            }
        }
    }
}

// Scores of the chunk, in units of log 2.
void scores(uint turn, uint left, uint thread) {
    const uint lane = thread % KEY_LANES;
    const uint key = thread / KEY_LANES;
    vec2 s[GROUP];
    [[unroll]] for (uint g = 0; g < GROUP; g++) {
        s[g] = vec2(0.0);
    }
    [[unroll]] for (uint v = 0; v < KEY_VECTORS; v++) {
        uint vector = min(v * KEY_LANES + lane, VECTORS - 1);
        Eight k[KEYS];
        [[unroll]] for (uint j = 0; j < KEYS; j++) {
            k[j] = decode8(keys[j * KEY_VECTORS + v]);
        }
        [[unroll]] for (uint g = 0; g < GROUP; g++) {
            vec4 lo = query[g * (HEAD_DIM / 4) + vector * 2];
            vec4 hi = query[g * (HEAD_DIM / 4) + vector * 2 + 1];
            [[unroll]] for (uint j = 0; j < KEYS; j++) {
                s[g][j] += dot(k[j].lo, lo) + dot(k[j].hi, hi);
            }
        }
    }
    [[unroll]] for (uint g = 0; g < GROUP; g++) {
        [[unroll]] for (uint distance = KEY_LANES / 2; distance > 0; distance /= 2) {
            s[g] += subgroupShuffleXor(s[g], distance);
        }
        [[unroll]] for (uint j = 0; j < KEYS; j++) {
            uint at = j * KEY_GROUPS + key;
            if (lane == j) {
                score[((turn * GROUP + g) * CHUNK + at) / 4][at % 4] = at < left ? s[g][j] : LOWEST;
            }
        }
    }
}

// Turns scores into exponentials under the running maximum, one head per subgroup.
void exponentials(uint turn) {
    for (uint g = gl_SubgroupID; g < GROUP; g += gl_NumSubgroups) {
        const uint line = (turn * GROUP + g) * CHUNK;
        float before = highest[g];
        float top = before;
        for (uint i = gl_SubgroupInvocationID; i < CHUNK; i += gl_SubgroupSize) {
            top = max(top, score[(line + i) / 4][i % 4]);
        }
        top = subgroupMax(top);
        float sum = 0.0;
        for (uint i = gl_SubgroupInvocationID; i < CHUNK; i += gl_SubgroupSize) {
            float e = exp2(score[(line + i) / 4][i % 4] - top);
            score[(line + i) / 4][i % 4] = e;
            sum += e;
        }
        sum = subgroupAdd(sum);
        if (subgroupElect()) {
            rescale[g] = exp2(before - top);
            highest[g] = top;
            total[g] = total[g] * rescale[g] + sum;
        }
    }
}

void addValues(uint turn, uint thread) {
    const uint group = thread / VECTORS;
    [[unroll]] for (uint g = 0; g < GROUP; g++) {
        sumLo[g] *= rescale[g];
        sumHi[g] *= rescale[g];
    }
    [[unroll]] for (uint f = 0; f < FOURS; f++) {
        uint four = min(f * VALUE_GROUPS + group, CHUNK / 4 - 1);
        Eight v[4];
        [[unroll]] for (uint i = 0; i < 4; i++) {
            v[i] = decode8(values[f * 4 + i]);
        }
        [[unroll]] for (uint g = 0; g < GROUP; g++) {
            vec4 p = score[(turn * GROUP + g) * (CHUNK / 4) + four];
            [[unroll]] for (uint i = 0; i < 4; i++) {
                sumLo[g] = fma(vec4(p[i]), v[i].lo, sumLo[g]);
                sumHi[g] = fma(vec4(p[i]), v[i].hi, sumHi[g]);
            }
        }
    }
}

#include "include/decode_parts.glsl"

// Sums of a range begin at nothing.
void begin(uint thread) {
    if (thread < GROUP) {
        highest[thread] = LOWEST;
        total[thread] = 0.0;
    }
    [[unroll]] for (uint g = 0; g < GROUP; g++) {
        sumLo[g] = vec4(0.0);
        sumHi[g] = vec4(0.0);
    }
}

// Keeps where an item's first chunk is.
void keepPages(uint page, uint thread) {
    if (thread < CHUNK) {
        pages[thread] = page;
    }
    barrier();
}

DecodeItem followingItem(uint turn) {
    const uvec4 a = following[turn * 2];
    const uvec4 b = following[turn * 2 + 1];
    return DecodeItem(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w);
}

void main() {
    const uint thread = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    DecodeItem item = DecodeItems(push.items).at[gl_WorkGroupID.y];
    uint page = pageOf(item, thread);
    keepPages(page, thread);
    // The stage before writes the last key and value of the row, and others only of rows with no more than a chunk; a chunk without what it writes
    // may be on its way meanwhile.
    const uint ranges = (item.count + item.rangeKeys - 1) / item.rangeKeys;
    const bool early = !FLOW || item.count > CHUNK || item.split + ranges < item.splits;
    if (early) {
        loadKeys(item, 0, 0, thread);
        loadValues(item, 0, 0, thread);
    }
    if (FLOW) {
        awaitStage(push.flow, thread);
    }
    if (!early) {
        loadKeys(item, 0, 0, thread);
        loadValues(item, 0, 0, thread);
    }
    [[dont_unroll]] for (uint items = 0;; items++) {
        const bool more = item.next != 0;
        uvec4 ahead;
        if (more && thread < 2) {
            ahead = Fixed4(push.items).at[item.next * 2 + thread];
        }
        loadQuery(item, thread);
        begin(thread);
        if (more && thread < 2) {
            following[items % 2 * 2 + thread] = ahead;
        }
        barrier();

        uint end = min(item.rangeKeys, item.count); // of the range
        uint split = item.split;
        uint turn = 0; // what successive chunks alternate between, so that one barrier less keeps them apart
        page = pageOf(item, min(CHUNK, end) + thread);

        // The next chunk's keys load while this one's scores turn into outputs, its values while its scores are found.
        [[dont_unroll]] for (uint chunk = 0; chunk < item.count;) {
            const uint next = min(chunk + CHUNK, end);
            const bool ends = next == end;
            const uint nextEnd = ends ? min(end + item.rangeKeys, item.count) : end;
            if (thread < CHUNK) {
                pages[(1 - turn) * CHUNK + thread] = page;
            }
            scores(turn, end - chunk, thread);
            barrier();
            if (next < item.count) {
                loadKeys(item, next, 1 - turn, thread);
                page = pageOf(item, min(next + CHUNK, nextEnd) + thread);
            }
            exponentials(turn);
            barrier();
            addValues(turn, thread);
            if (next < item.count) {
                loadValues(item, next, 1 - turn, thread);
            }
            if (ends) {
                store(item, split, thread);
                split++;
                if (next < item.count) {
                    barrier(); // store reads the maxima and sums
                    begin(thread);
                }
            }
            chunk = next;
            end = nextEnd;
            turn = 1 - turn;
        }
        const DecodeItem after = followingItem(items % 2);
        if (more) {
            page = pageOf(after, thread); // while the parts are folded
        }
        if (item.splits > 1 && arriveLast(item, split - item.split, thread)) {
            merge(item, thread);
        }
        if (!more) {
            break;
        }
        item = after;
        keepPages(page, thread);
        loadKeys(item, 0, 0, thread);
        loadValues(item, 0, 0, thread);
    }
    if (FLOW) {
        leaveStage(push.flow, thread);
    }
}
