// y[t,n] = inv(t) * sum_k W[n,k] * x[t,k] for many rows. A workgroup computes a tile of rows by outputs. Subgroups stand SUBGROUPS_M by
// SUBGROUPS_N over it, each with EACH_M by EACH_N blocks of 16 by 16. Both operands go straight into their registers, a panel ahead of the one
// that is multiplied: what neighbours share is in the multiprocessor's cache.
//
// Tiles that would leave places of the device empty are divided along the columns (divide.glsl).
//
// Grid: {workgroups of a row of tiles, as divided, rows of tiles, 1}. Neighbours share outputs, for TILES_TOGETHER tiles of rows, so that
// what they read is in the cache.
#include "coop.glsl"

layout(constant_id = 7) const uint EACH_M = 4;
layout(constant_id = 8) const uint EACH_N = 4;
layout(constant_id = 9) const uint SUBGROUPS_M = 2;
layout(constant_id = 10) const uint SUBGROUPS_N = 2;
layout(constant_id = 11) const bool GATHER = false; // the norm's rows are looked up
layout(constant_id = 12) const uint ENDING = 0;   // what the kernel does with its outputs; see epilogue.glsl
layout(constant_id = 13) const bool LORA = false; // the shrink is done before
layout(constant_id = 14) const bool HALF = false; // the ending leaves halves
layout(constant_id = 15) const uint HEAD_DIM = 128;
layout(constant_id = 16) const bool FLOATS = true; // the ending leaves fp32 rows
layout(constant_id = 17) const bool FINE = false;  // squares of the residual stream are summed by SQUARES_QUAD columns, else by a tile's
layout(constant_id = 18) const bool X_BEHIND = false; // W loads before x, see multiplyByRows
#define WHOLE LORA // the sums have their delta in them when they end; a constant would only be another name of LORA

#include "ahead.glsl"
#include "divide.glsl"
#include "panels.glsl"

layout(push_constant) uniform Push {
    uint64_t w;       // TYPE, in panels
    uint64_t x;       // TYPE, in panels: halves
    uint64_t y;       // fp32 [t][yStride]
    uint64_t squares; // fp32 [row][parts]
    uint64_t gather;  // uint32 [t], the norm's row of each t, with GATHER
    uint64_t left;    // Parts
    uint64_t epilogue; // Epilogue [1]
    uint64_t slots;    // uint32 [t]: as the Epilogue's
    uint panels; // that the columns take
    uint yStride;
    uint outputs;
    uint tokens;
    uint parts;
    uint normWidth;
    float eps;
    uint places; // of the device for workgroups of this kernel
} push;

const uint TILES_TOGETHER = 16;
const uint SUBGROUPS = SUBGROUPS_M * SUBGROUPS_N;
const uint PATCH_STRIDE = 20; // floats between rows of a block, which keep banks apart
const uint PATCH = 16 * PATCH_STRIDE;
const uint BLOCKS_M = SUBGROUPS_M * EACH_M; // of 16 rows
const uint BLOCKS_N = SUBGROUPS_N * EACH_N; // of 16 outputs
const uint CHUNKS_M = BLOCKS_M * PANEL_CHUNKS;
const uint B_ROW = BLOCKS_N * 2 + 1; // chunks between rows of B, the last of which keeps banks apart
const uint DELTA_SLICE = CHUNKS_M + 32 * B_ROW;
const uint TILE_T = BLOCKS_M * 16;
const uint BLOCKS_EACH = EACH_M * EACH_N; // of a subgroup, a power of two
const uint SUMS_EACH = BLOCKS_EACH * ACROSS;
const uint NORM_LANES = THREADS / TILE_T >= 8 ? 8 : THREADS / TILE_T >= 4 ? 4 : THREADS / TILE_T >= 2 ? 2 : 1; // per row
#include "norm.glsl"

// Where lanes hold matrices and outputs end, two blocks are multiplied as 32 outputs in an order by which a lane has the sums of runs of eight
// neighbours (end_lanes.glsl): column n < 8 of the j-th of them is output n / 2 * 8 + j * 4 + n % 2 of the 32, column n + 8 two behind.
const bool RUNS = FRAGMENTS && ENDING != END_NONE;
const uint SECOND_EIGHT = RUNS ? 8 : 32; // chunks from a block's first eight outputs to the second, in a panel

const uint SLICES = LORA ? 2 * DELTA_SLICE : 0; // of deltas
const uint PATCHES = RUNS ? 1 : SUBGROUPS * PATCH * 2 / 4; // two blocks of each subgroup; none with RUNS, but no array is empty
shared uvec4 pool[SLICES > PATCHES ? SLICES : PATCHES]; // for the ones and then for the others
shared float inverse[TILE_T];
shared float rowSquares[SUBGROUPS_N * TILE_T]; // of the columns of the subgroups side by side

const bool PAIRS = ENDING == END_ROPE_STORE || ENDING == END_SILU_MUL; // every second block's outputs are far from those of the one before

// The first output, as W has them, of the block-th of blocks from firstOutput on; both in the order of units.
uint blockOutput(uint firstOutput, uint block, uint outputs) {
    return PAIRS ? columnOf(firstOutput + block / 2 * 32 + block % 2 * 4, outputs) : firstOutput + block * 16;
}

// The block that the first or the second half of the n-th 32 outputs is. Of PAIRS every second 32 are those that the ones before are paired with.
uint blockOfRuns(uint n, uint second) { return PAIRS ? n / 2 * 4 + second * 2 + n % 2 : n * 2 + second; }

uint xAt[EACH_M]; // the chunk, in the matrix, of each of the subgroup's blocks of rows at the panel on its way; with FRAGMENTS the lane's
uint wAt[EACH_N]; // and of outputs
uvec4 nextX[2 * EACH_M]; // the lane's chunks of that panel
uvec4 nextW[2 * EACH_N];
SUMS sums[SUMS_EACH];

#include "delta_blocks.glsl"

uint normRow(uint t) {
    t = min(t, push.tokens - 1);
    return GATHER ? Uints(push.gather).at[t] : t;
}

// Starts the loads of the panel that is so many chunks behind the last one, of one block of rows or of outputs.
void fetchX(uint i, uint chunks) {
    xAt[i] += chunks;
    nextX[2 * i] = Uints4(push.x).at[xAt[i]];
    nextX[2 * i + 1] = Uints4(push.x).at[xAt[i] + 32];
}

void fetchW(uint j, uint chunks) {
    wAt[j] += chunks;
    nextW[2 * j] = Uints4(push.w).at[wAt[j]];
    nextW[2 * j + 1] = Uints4(push.w).at[wAt[j] + SECOND_EIGHT];
}

// Multiplies the panel that was loaded, while the one that is so many chunks behind it loads.
void multiply(uint chunks) {
    ROWS rows[EACH_M * 2];
    [[unroll]] for (uint i = 0; i < EACH_M; i++) {
        rows[2 * i] = rowsOf(nextX[2 * i], nextX[2 * i + 1], 0);
        rows[2 * i + 1] = rowsOf(nextX[2 * i], nextX[2 * i + 1], 1);
    }
    [[unroll]] for (uint i = 0; i < EACH_M; i++) {
        fetchX(i, chunks);
    }
    [[unroll]] for (uint j = 0; j < EACH_N; j++) {
        const uvec4 low = nextW[2 * j];
        const uvec4 high = nextW[2 * j + 1];
        [[unroll]] for (uint step = 0; step < 2; step++) {
            OUTPUTS outputs = outputsOf(low, high, step);
            [[unroll]] for (uint i = 0; i < EACH_M; i++) {
                sums[i * EACH_N + j] = coopMatMulAdd(rows[2 * i + step], outputs, sums[i * EACH_N + j]);
            }
        }
        fetchW(j, chunks);
    }
}

// Like multiply, but all of W loads first, and each block of rows behind its products. With very many rows that is faster, with fewer slower: see
// BENCHMARKS, Endings of many rows.
void multiplyByRows(uint chunks) {
    OUTPUTS outputs[EACH_N * 2];
    [[unroll]] for (uint j = 0; j < EACH_N; j++) {
        outputs[2 * j] = outputsOf(nextW[2 * j], nextW[2 * j + 1], 0);
        outputs[2 * j + 1] = outputsOf(nextW[2 * j], nextW[2 * j + 1], 1);
    }
    [[unroll]] for (uint j = 0; j < EACH_N; j++) {
        fetchW(j, chunks);
    }
    [[unroll]] for (uint i = 0; i < EACH_M; i++) {
        [[unroll]] for (uint step = 0; step < 2; step++) {
            const ROWS rows = rowsOf(nextX[2 * i], nextX[2 * i + 1], step);
            [[unroll]] for (uint j = 0; j < EACH_N; j++) {
                sums[i * EACH_N + j] = coopMatMulAdd(rows, outputs[2 * j + step], sums[i * EACH_N + j]);
            }
        }
        fetchX(i, chunks);
    }
}

// multiply by the language's loads; nothing is loaded ahead.
void multiplyPlainly(uint chunks) {
    [[unroll]] for (uint step = 0; step < STEPS; step++) {
        ROWS rows[EACH_M * ACROSS_M];
        [[unroll]] for (uint i = 0; i < EACH_M * ACROSS_M; i++) {
            const uint at = xAt[i / ACROSS_M] + chunkOf(i % ACROSS_M * SIZE_M, step * SIZE_K, 1);
            coopMatLoad(rows[i], Uints4(push.x).at, at, 4, gl_CooperativeMatrixLayoutRowMajor);
        }
        [[unroll]] for (uint j = 0; j < EACH_N * ACROSS_N; j++) {
            const uint at = wAt[j / ACROSS_N] + chunkOf(j % ACROSS_N * SIZE_N, step * SIZE_K, 1);
            OUTPUTS outputs;
            coopMatLoad(outputs, Uints4(push.w).at, at, 4, gl_CooperativeMatrixLayoutColumnMajor);
            [[unroll]] for (uint i = 0; i < EACH_M * ACROSS_M; i++) {
                const uint block = i / ACROSS_M * EACH_N + j / ACROSS_N;
                const uint sum = (block * ACROSS_M + i % ACROSS_M) * ACROSS_N + j % ACROSS_N;
                sums[sum] = coopMatMulAdd(rows[i], outputs, sums[sum]);
            }
        }
    }
    [[unroll]] for (uint i = 0; i < EACH_M; i++) {
        xAt[i] += chunks;
    }
    [[unroll]] for (uint j = 0; j < EACH_N; j++) {
        wAt[j] += chunks;
    }
}

// Starts the sums of a tile, the corner of which is at so many blocks, at zero, and adds up panels of it.
void addUp(uint firstT, uint firstN, uint begin, uint end, uint blockM, uint blockN, uint thread, uint lane) {
    const uint lastT = (push.tokens - 1) / 16;
    const uint lastN = (push.outputs - 1) / 16;
    const uint first = FRAGMENTS ? lane : 0; // of a panel's chunks
    [[unroll]] for (uint i = 0; i < EACH_M; i++) {
        xAt[i] = (min(firstT + blockM + i, lastT) * push.panels + begin) * PANEL_CHUNKS + first;
    }
    [[unroll]] for (uint j = 0; j < EACH_N; j++) {
        const uint block = RUNS ? blockOfRuns((blockN + j) / 2, lane / 16) : blockN + j;
        // With RUNS in their order, by which lines of 128 bytes stay whole.
        const uint chunk = RUNS ? (lane / 8 % 2 * 8 + lane / 4 % 2 + j % 2 * 4) * 4 + lane % 4 : first;
        wAt[j] = (min(blockOutput(firstN * 16, block, push.outputs) / 16, lastN) * push.panels + begin) * PANEL_CHUNKS + chunk;
    }
    [[unroll]] for (uint i = 0; i < SUMS_EACH; i++) {
        sums[i] = SUMS(0.0);
    }
    Ahead ahead;
    if (ENDING != END_NONE) {
        ahead = fetchAhead(push.epilogue, push.slots, firstT * 16, TILE_T, push.tokens, thread);
    }
    if (FRAGMENTS) {
        [[unroll]] for (uint i = 0; i < EACH_M; i++) {
            fetchX(i, 0);
        }
        [[unroll]] for (uint j = 0; j < EACH_N; j++) {
            fetchW(j, 0);
        }
    }
    if (ENDING != END_NONE) {
        keepAhead(ahead, TILE_T, thread);
    }
    if (NORM) {
        for (uint i = thread; i < TILE_T * NORM_LANES; i += THREADS) {
            inverse[i / NORM_LANES] =
                inverseNorm(push.squares, normRow(firstT * 16 + i / NORM_LANES), push.parts, push.normWidth, push.eps, i % NORM_LANES);
        }
    }
    barrier();
    uint panel = begin;
    do { // there is one: a way past the loop would take copies of the sums
        const uint chunks = panel + 1 < end ? PANEL_CHUNKS : 0; // to the next panel; the last one is loaded once more
        if (X_BEHIND) {
            multiplyByRows(chunks);
        } else if (FRAGMENTS) {
            multiply(chunks);
        } else {
            multiplyPlainly(chunks);
        }
    } while (++panel < end);
}

// Where the invocation's share of one of the subgroup's sums lies in the parts of a workgroup, and every how many fours.
uint partOf(uint workgroup, uint sum, uint lane) {
    return partSums(workgroup, TILE_T * BLOCKS_N * 4) + (gl_SubgroupID * SUMS_EACH + sum) * SIZE_M * SIZE_N / 4 + lane;
}

void storePart(uint workgroup, uint lane) {
    [[unroll]] for (uint i = 0; i < SUMS_EACH; i++) {
        [[unroll]] for (uint e = 0; e < sums[i].length(); e += 4) {
            Parts(push.left).at[partOf(workgroup, i, lane) + e / 4 * gl_SubgroupSize] = vec4(sums[i][e], sums[i][e + 1], sums[i][e + 2], sums[i][e + 3]);
        }
    }
}

void addPart(uint workgroup, uint lane) {
    [[unroll]] for (uint i = 0; i < SUMS_EACH; i++) {
        [[unroll]] for (uint e = 0; e < sums[i].length(); e += 4) {
            const vec4 part = Parts(push.left).at[partOf(workgroup, i, lane) + e / 4 * gl_SubgroupSize];
            [[unroll]] for (uint j = 0; j < 4; j++) {
                sums[i][e + j] += part[j];
            }
        }
    }
}

// Scales the sums by the norm's factors.
void scale(uint blockM) {
    [[unroll]] for (uint i = 0; i < EACH_M * ACROSS_M; i++) {
        SUMS factor;
        coopMatLoad(factor, inverse, blockM * 16 + i * SIZE_M, 0, gl_CooperativeMatrixLayoutColumnMajor);
        [[unroll]] for (uint j = 0; j < EACH_N * ACROSS_N; j++) {
            const uint at = ((i / ACROSS_M * EACH_N + j / ACROSS_N) * ACROSS_M + i % ACROSS_M) * ACROSS_N + j % ACROSS_N;
            [[unroll]] for (uint e = 0; e < factor.length(); e++) {
                sums[at][e] *= factor[e];
            }
        }
    }
}

#include "end_blocks.glsl"
#include "end_lanes.glsl"

// Ends a tile, the corner of which is at so many blocks.
void endTile(uint firstT, uint firstN, uint blockM, uint blockN, uint thread, uint lane) {
    if (NORM) {
        scale(blockM);
    }
    if (ENDING == END_NONE && (firstT + BLOCKS_M) * 16 <= push.tokens && (firstN + BLOCKS_N) * 16 <= push.outputs) {
        [[unroll]] for (uint i = 0; i < SUMS_EACH; i++) {
            const uint t = (firstT + blockM + i / ACROSS / EACH_N) * 16 + i % ACROSS / ACROSS_N * SIZE_M;
            const uint n = (firstN + blockN + i / ACROSS % EACH_N) * 16 + i % ACROSS_N * SIZE_N;
            coopMatStore(sums[i], Floats(push.y).at, t * push.yStride + n, push.yStride, gl_CooperativeMatrixLayoutRowMajor);
        }
        return;
    }
    if (WHOLE) {
        addDeltas(epilogueAhead(), firstT, firstN, blockM, blockN, thread);
    }
    Epilogue e; // read once more: kept meanwhile, it would take registers
    if (ENDING != END_NONE) {
        e = epilogueAhead();
    }
    const Corner c = Corner(firstT * 16, blockM * 16, (firstN + blockN) * 2);
    if (RUNS) {
        endLanes(e, c, lane);
    } else {
        endAllBlocks(e, c, lane);
    }
    if (ENDING == END_RESIDUAL && !FINE) {
        endRowSquares(e, firstT, firstN / BLOCKS_N, thread);
    }
}

void main() {
    const uint lane = gl_SubgroupInvocationID;
    const uint thread = gl_SubgroupID * gl_SubgroupSize + lane;
    const uint blockM = gl_SubgroupID % SUBGROUPS_M * EACH_M;
    const uint blockN = gl_SubgroupID / SUBGROUPS_M * EACH_N;
    const uint tilesN = (push.outputs + BLOCKS_N * 16 - 1) / (BLOCKS_N * 16);
    const uint tilesT = gl_NumWorkGroups.y;
    const uint index = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x; // in the order in which they start
    const Division d = divisionOf(tilesN, tilesT, push.places, push.panels);
    const uint base = d.whole * push.panels; // where the panels of the tiles that are divided begin
    const uint workgroup = index - d.whole * tilesT; // of those that divide them
    const uint worker = workgroup / tilesT;
    uint row = workgroup % tilesT;
    uint begin; // of the workgroup's panels, counted through a row of tiles
    uint end;
    if (index < d.whole * tilesT) {
        const uint group = index / (TILES_TOGETHER * d.whole);
        const uint groupT = min(TILES_TOGETHER, tilesT - group * TILES_TOGETHER);
        const uint within = index % (TILES_TOGETHER * d.whole);
        row = group * TILES_TOGETHER + within % groupT;
        begin = within / groupT * push.panels;
        end = begin + push.panels;
    } else {
        begin = base + firstPanel(d, worker);
        end = base + firstPanel(d, worker + 1);
    }
    const uint firstT = row * BLOCKS_M; // in blocks
    uint tile = (end - 1) / push.panels;
    for (;; tile--) {
        const uint first = tile * push.panels;
        addUp(firstT, tile * BLOCKS_N, max(begin, first) - first, min(end - first, push.panels), blockM, blockN, thread, lane);
        if (end - first >= push.panels) {
            break;
        }
        storePart(workgroup, lane);
        leavePart(push.left, workgroup, thread);
        if (first <= begin) {
            return;
        }
        barrier();
    }
    // Behind the loop: what the end of a tile computes from nothing that changes would else take registers all through it.
    const uint first = tile * push.panels;
    uint other = worker;
    while (begin > first && base + firstPanel(d, other) > first) {
        other--;
    }
    if (other < worker) {
        awaitParts(push.left, other * tilesT + row, tilesT, worker - other, thread);
        [[dont_unroll]] for (; other < worker; other++) {
            addPart(other * tilesT + row, lane);
        }
    }
    endTile(firstT, tile * BLOCKS_N, blockM, blockN, thread, lane);
}
