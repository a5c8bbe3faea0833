// Causal attention of a chunk's rows over their KV pages by cooperative matrices:
//
//	o[i,h,:] = sum_{t <= start+i} softmax_t(scale * q[i,h]·K[t]) V[t,:]
//
// A workgroup has a tile of ROWS query rows, which are the heads of a group for as many tokens as fit: all of them read the
// same keys. It walks over the keys KEYS at a time. Each subgroup has EACH blocks of SIZE_M rows, whose queries,
// scores and sums stay in its registers; keys and values pass through shared memory, and those to come are on their way
// to registers meanwhile. Queries and the softmax' exponentials are rounded to ELEMENT, the type of the pages, and all
// else is fp32. The module says what ELEMENT is and how to pack two of them.
//
// Rows are folded, and exponentials become an operand of the second product, by lanes where the host knows which elements they have
// (FRAGMENTS, as coop.glsl describes; attend_rows.glsl), elsewhere by way of shared memory (attend_blocks.glsl).
//
// Grid: {key heads, items, 1}.
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "items.glsl"
#include "pages.glsl"
#include "panels.glsl"

layout(constant_id = 1) const uint HEAD_DIM = 128; // a multiple of SIZE_N, SIZE_K and 8
layout(constant_id = 2) const uint THREADS = 256;  // SUBGROUPS times the size of a subgroup, a multiple of HEAD_DIM / 8
layout(constant_id = 3) const uint SIZE_M = 16;    // rows of a block, at most the size of a subgroup
layout(constant_id = 4) const uint SIZE_N = 16;
layout(constant_id = 5) const uint SIZE_K = 16;    // a divisor of 2 * SIZE_N
layout(constant_id = 6) const uint EACH = 1;
layout(constant_id = 7) const uint SUBGROUPS = 8;
layout(constant_id = 8) const uint KEYS = 64;      // a multiple of 2 * SIZE_N
layout(constant_id = 9) const bool FLOATS = true; // the result is left as fp32 rows
layout(constant_id = 10) const bool HALF = false; // and as halves
layout(constant_id = 11) const bool FRAGMENTS = false;
layout(local_size_x_id = 2) in;

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

const uint ROWS = SUBGROUPS * EACH * SIZE_M;
const uint LANES = THREADS / SUBGROUPS;
const uint VECTORS = HEAD_DIM / 8;  // eight-element vectors of a head
const uint LINE = VECTORS + 1;      // of a row in shared memory; the odd one keeps banks apart
const uint LINES = THREADS / VECTORS; // keys the workgroup loads at a time
const uint LOADS = (KEYS + LINES - 1) / LINES;
const uint DEPTHS = HEAD_DIM / SIZE_K;
const uint COLUMNS = HEAD_DIM / SIZE_N;
const uint BLOCKS = KEYS / SIZE_N;
const uint PAIR = 2 * SIZE_N; // keys of two blocks, which alternate without FRAGMENTS
const uint PARTS = KEYS / SIZE_K;

// A subgroup's own patch, without FRAGMENTS: a block of fp32 or, in as many bytes, a pair of blocks of ELEMENT.
const uint FOURS = SIZE_N / 4;
const uint PATCH_LINE = FOURS + 1;
const uint PATCH = SIZE_M * PATCH_LINE;

// The pool holds the queries, and later keys, values and, without FRAGMENTS, patches.
const uint VALUES = KEYS * LINE;
const uint PATCHES = 2 * VALUES;
const uint WORK = PATCHES + (FRAGMENTS ? 0 : SUBGROUPS * PATCH);
const uint QUERIES = ROWS * LINE;

const float LOG2E = 1.4426950408889634;
const float LOWEST = -1e30; // instead of -inf, whose differences are NaN

#define BLOCK coopmat<float, gl_ScopeSubgroup, SIZE_M, SIZE_N, gl_MatrixUseAccumulator>

shared uvec4 pool[WORK > QUERIES ? WORK : QUERIES];

uint pages[LOADS];    // of the keys to come
uvec4 fetched[LOADS]; // keys or values on their way
coopmat<ELEMENT, gl_ScopeSubgroup, SIZE_M, SIZE_K, gl_MatrixUseA> queries[EACH * DEPTHS];
coopmat<ELEMENT, gl_ScopeSubgroup, SIZE_M, SIZE_K, gl_MatrixUseA> weights[EACH * PARTS];
BLOCK scores[EACH * BLOCKS];
BLOCK sums[EACH * COLUMNS];

// The token and the head of a row of the tile; rows past the end repeat the last token, and are not stored.
uint tokenOf(PrefillItem item, uint row) { return min(row / push.group, item.rows - 1); }
uint headOf(uint row) { return gl_WorkGroupID.x * push.group + row % push.group; }

// Finds the pages of the thread's keys of the block that begins at key first.
void findPages(PrefillItem item, uint first, uint last, uint thread) {
    [[unroll]] for (uint i = 0; i < LOADS; i++) {
        uint key = min(first + thread / VECTORS + i * LINES, last);
        pages[i] = Uints(push.pageTable).at[item.lane * push.maxPages + key / PAGE_TOKENS];
    }
}

// Starts the loads of a block's keys, or with skip of its values. Keys past the last one count as zero: their weight is
// zero, and zero times what an unwritten slot holds need not be.
void fetch(uint first, uint last, uint skip, uint thread) {
    [[unroll]] for (uint i = 0; i < LOADS; i++) {
        const uint at = thread / VECTORS + i * LINES;
        const uint slot = gl_WorkGroupID.x * PAGE_TOKENS + (first + at) % PAGE_TOKENS;
        fetched[i] = uvec4(0);
        if (at < KEYS && first + at <= last) {
            fetched[i] = Uints4(push.pool + uint64_t(pages[i]) * push.pageBytes + (push.layerOffset + skip)).at[slot * VECTORS + thread % VECTORS];
        }
    }
}

// Puts fetched keys into shared memory, without FRAGMENTS even ones of a pair before odd ones.
void keepKeys(uint thread) {
    [[unroll]] for (uint i = 0; i < LOADS; i++) {
        const uint key = thread / VECTORS + i * LINES;
        if (key < KEYS) {
            const uint at = FRAGMENTS ? key : key / PAIR * PAIR + key % 2 * SIZE_N + key % PAIR / 2;
            pool[at * LINE + thread % VECTORS] = fetched[i];
        }
    }
}

void keepValues(uint thread) {
    [[unroll]] for (uint i = 0; i < LOADS; i++) {
        const uint key = thread / VECTORS + i * LINES;
        if (key < KEYS) {
            pool[VALUES + key * LINE + thread % VECTORS] = fetched[i];
        }
    }
}

// Brings the tile's queries to the registers of their subgroups.
void loadQueries(PrefillItem item, uint thread) {
    for (uint i = thread; i < ROWS * VECTORS; i += THREADS) {
        const uint row = i / VECTORS;
        Eight q = floats8(push.qkv + (uint64_t(item.row + tokenOf(item, row)) * push.qkvStride + headOf(row) * HEAD_DIM) * 4, i % VECTORS * 8);
        pool[row * LINE + i % VECTORS] = uvec4(packElements(q.lo.xy), packElements(q.lo.zw), packElements(q.hi.xy), packElements(q.hi.zw));
    }
    barrier();
    const uint row = gl_SubgroupID * EACH * SIZE_M;
    [[unroll]] for (uint e = 0; e < EACH; e++) {
        [[unroll]] for (uint d = 0; d < DEPTHS; d++) {
            coopMatLoad(queries[e * DEPTHS + d], pool, (row + e * SIZE_M) * LINE + d * SIZE_K / 8, LINE, gl_CooperativeMatrixLayoutRowMajor);
        }
    }
    barrier();
}

// The scores of the keys in shared memory, unscaled.
void multiplyKeys() {
    [[unroll]] for (uint i = 0; i < EACH * BLOCKS; i++) {
        scores[i] = BLOCK(0.0);
    }
    [[unroll]] for (uint b = 0; b < BLOCKS; b++) {
        [[unroll]] for (uint d = 0; d < DEPTHS; d++) {
            coopmat<ELEMENT, gl_ScopeSubgroup, SIZE_K, SIZE_N, gl_MatrixUseB> keys;
            coopMatLoad(keys, pool, b * SIZE_N * LINE + d * SIZE_K / 8, LINE, gl_CooperativeMatrixLayoutColumnMajor);
            [[unroll]] for (uint e = 0; e < EACH; e++) {
                scores[e * BLOCKS + b] = coopMatMulAdd(queries[e * DEPTHS + d], keys, scores[e * BLOCKS + b]);
            }
        }
    }
}

void multiplyValues() {
    [[unroll]] for (uint k = 0; k < PARTS; k++) {
        [[unroll]] for (uint c = 0; c < COLUMNS; c++) {
            coopmat<ELEMENT, gl_ScopeSubgroup, SIZE_K, SIZE_N, gl_MatrixUseB> values;
            coopMatLoad(values, pool, VALUES + k * SIZE_K * LINE + c * SIZE_N / 8, LINE, gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (uint e = 0; e < EACH; e++) {
                sums[e * COLUMNS + c] = coopMatMulAdd(weights[e * PARTS + k], values, sums[e * COLUMNS + c]);
            }
        }
    }
}

#include "attend_blocks.glsl"
#include "attend_rows.glsl"

void main() {
    const uint thread = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    // The last items of a chunk see the most keys, so they begin first.
    const PrefillItem item = PrefillItems(push.items).at[gl_NumWorkGroups.y - 1 - gl_WorkGroupID.y];
    const uint last = item.start + item.rows - 1; // the last key that any row sees
    const uint skip = push.kvHeads * PAGE_TOKENS * HEAD_DIM * 2;
    const uint sure = item.start + tokenOf(item, gl_SubgroupID * EACH * SIZE_M); // the last key that all the subgroup's rows see
    const float scale = push.scale * LOG2E;

    findPages(item, 0, last, thread);
    fetch(0, last, 0, thread);
    loadQueries(item, thread);
    if (FRAGMENTS) {
        beginRows(item);
    } else {
        beginBlocks(item, thread);
    }
    [[unroll]] for (uint i = 0; i < EACH * COLUMNS; i++) {
        sums[i] = BLOCK(0.0);
    }
    keepKeys(thread);
    fetch(0, last, skip, thread);
    barrier();

    for (uint first = 0; first <= last; first += KEYS) {
        findPages(item, first + KEYS, last, thread);
        multiplyKeys();
        keepValues(thread);
        fetch(first + KEYS, last, 0, thread);
        if (first + KEYS - 1 > sure) {
            if (FRAGMENTS) {
                maskRows(first);
            } else {
                maskBlocks(first);
            }
        }
        [[unroll]] for (uint e = 0; e < EACH; e++) {
            if (FRAGMENTS) {
                raiseRows(e, scale);
                exponentialsOfRows(e, scale);
            } else {
                raiseBlocks(e, scale);
                exponentialsOfBlocks(e, scale);
            }
        }
        barrier();
        multiplyValues();
        keepKeys(thread);
        fetch(first + KEYS, last, skip, thread);
        barrier();
    }

    [[unroll]] for (uint e = 0; e < EACH; e++) {
        if (FRAGMENTS) {
            storeRows(item, e);
        } else {
            storeBlocks(item, e);
        }
    }
}
