// y[t,n] = inv(t) * sum_k W[n,k] * x[t,k] for many rows. A workgroup computes a tile of rows by outputs; both operands pass through
// shared memory by slices of 32 columns, the next of which are on their way to registers while one is multiplied. Subgroups stand
// SUBGROUPS_M by SUBGROUPS_N over the tile, each with EACH_M by EACH_N blocks of 16 by 16.
//
// The columns may be divided into SHARES, whose sums lie so many times the tokens' rows apart; who reads y adds them up.
//
// Grid: {shares * tiles of outputs * tiles of rows, 1, 1}; tiles of rows may be fewer than the tokens need. Neighbours share outputs, for
// TILES_TOGETHER tiles of rows, so that what they read is in the cache.
#include "coop.glsl"

layout(constant_id = 7) const uint EACH_M = 4;
layout(constant_id = 8) const uint EACH_N = 4;
layout(constant_id = 9) const uint SUBGROUPS_M = 2;
layout(constant_id = 10) const uint SUBGROUPS_N = 2;
layout(constant_id = 11) const bool GATHER = false; // the norm's rows are looked up
layout(constant_id = 12) const uint SHARES = 1;

#include "norm.glsl"
#include "panels.glsl"

layout(push_constant) uniform Push {
    uint64_t w;       // TYPE, in panels
    uint64_t x;       // TYPE, in panels: halves
    uint64_t y;       // fp32 [share][t][yStride]
    uint64_t squares; // fp32 [row][parts]
    uint64_t gather;  // uint32 [t], the norm's row of each t, with GATHER
    uint panels; // that the columns take
    uint yStride;
    uint outputs;
    uint tokens;
    uint parts;
    uint normWidth;
    float eps;
} push;

const uint TILES_TOGETHER = 16;
const uint BLOCKS_M = SUBGROUPS_M * EACH_M; // of 16 rows
const uint BLOCKS_N = SUBGROUPS_N * EACH_N; // of 16 outputs
const uint CHUNKS_M = BLOCKS_M * PANEL_CHUNKS;
const uint CHUNKS_N = BLOCKS_N * PANEL_CHUNKS;
const uint SLICE = CHUNKS_M + CHUNKS_N;
const uint LOADS_M = CHUNKS_M / THREADS;
const uint LOADS_N = CHUNKS_N / THREADS;
const uint TILE_T = BLOCKS_M * 16;
// The next slice goes into shared memory before this one is multiplied, while the one behind it loads. That takes more registers, which
// larger tiles do not have.
const bool EARLY = EACH_M * EACH_N <= 8;
const uint AHEAD = EARLY ? 2 : 1; // slices that a load is ahead
const uint NORM_LANES = THREADS / TILE_T >= 8 ? 8 : THREADS / TILE_T >= 4 ? 4 : THREADS / TILE_T >= 2 ? 2 : 1; // per row

shared uvec4 pool[2 * SLICE];
shared float patches[SUBGROUPS_M * SUBGROUPS_N * 256];
shared float inverse[TILE_T];

uint shareRow; // of y, where the share's rows begin
uint xChunks[LOADS_M]; // of the thread's chunks, in the matrix
uint wChunks[LOADS_N];
uvec4 nextX[LOADS_M];
uvec4 nextW[LOADS_N];
SUMS sums[EACH_M * EACH_N * ACROSS];

uint normRow(uint t) {
    t = min(t, push.tokens - 1);
    return GATHER ? Uints(push.gather).at[t] : t;
}

// Starts the loads of a slice of one panel.
void fetch(uint panel) {
    [[unroll]] for (uint i = 0; i < LOADS_M; i++) {
        nextX[i] = Uints4(push.x).at[xChunks[i] + panel * PANEL_CHUNKS];
    }
    [[unroll]] for (uint i = 0; i < LOADS_N; i++) {
        nextW[i] = Uints4(push.w).at[wChunks[i] + panel * PANEL_CHUNKS];
    }
}

// Puts the slice into shared memory, x before W.
void keep(uint slice, uint thread) {
    [[unroll]] for (uint i = 0; i < LOADS_M; i++) {
        pool[slice + i * THREADS + thread] = nextX[i];
    }
    [[unroll]] for (uint i = 0; i < LOADS_N; i++) {
        pool[slice + CHUNKS_M + i * THREADS + thread] = nextW[i];
    }
}

void multiply(uint slice, uint blockM, uint blockN, uint lane) {
    const uint xs = slice + blockM * PANEL_CHUNKS + lane;
    const uint ws = slice + CHUNKS_M + blockN * PANEL_CHUNKS + lane;
    uvec4 x[EACH_M * 2];
    [[unroll]] for (uint i = 0; i < EACH_M * 2; i++) {
        x[i] = pool[xs + i * 32];
    }
    ROWS rows[EACH_M * 2];
    [[unroll]] for (uint i = 0; i < EACH_M; i++) {
        rows[2 * i] = rowsOf(x[2 * i], x[2 * i + 1], 0);
        rows[2 * i + 1] = rowsOf(x[2 * i], x[2 * i + 1], 1);
    }
    [[unroll]] for (uint j = 0; j < EACH_N; j++) {
        const uvec4 low = pool[ws + j * PANEL_CHUNKS];
        const uvec4 high = pool[ws + j * PANEL_CHUNKS + 32];
        [[unroll]] for (uint step = 0; step < 2; step++) {
            OUTPUTS outputs = outputsOf(low, high, step);
            [[unroll]] for (uint i = 0; i < EACH_M; i++) {
                sums[i * EACH_N + j] = coopMatMulAdd(rows[2 * i + step], outputs, sums[i * EACH_N + j]);
            }
        }
    }
}

// multiply by the language's loads.
void multiplyPlainly(uint slice, uint blockM, uint blockN) {
    [[unroll]] for (uint step = 0; step < STEPS; step++) {
        ROWS rows[EACH_M * ACROSS_M];
        [[unroll]] for (uint i = 0; i < EACH_M * ACROSS_M; i++) {
            coopMatLoad(rows[i], pool, slice + chunkOf(blockM * 16 + i * SIZE_M, step * SIZE_K, 1), 4, gl_CooperativeMatrixLayoutRowMajor);
        }
        [[unroll]] for (uint j = 0; j < EACH_N * ACROSS_N; j++) {
            OUTPUTS outputs;
            coopMatLoad(outputs, pool, slice + CHUNKS_M + chunkOf(blockN * 16 + j * SIZE_N, step * SIZE_K, 1), 4,
                        gl_CooperativeMatrixLayoutColumnMajor);
            [[unroll]] for (uint i = 0; i < EACH_M * ACROSS_M; i++) {
                const uint block = i / ACROSS_M * EACH_N + j / ACROSS_N;
                const uint at = (block * ACROSS_M + i % ACROSS_M) * ACROSS_N + j % ACROSS_N;
                sums[at] = coopMatMulAdd(rows[i], outputs, sums[at]);
            }
        }
    }
}

// Writes a block at its corner, directly where it lies inside, else by way of the subgroup's patch.
void store(uint block, uint firstT, uint firstN, uint lane) {
    const bool inside = firstT + 16 <= push.tokens && firstN + 16 <= push.outputs;
    [[unroll]] for (uint i = 0; i < ACROSS; i++) {
        const uint t = i / ACROSS_N * SIZE_M;
        const uint n = i % ACROSS_N * SIZE_N;
        SUMS sum = sums[block * ACROSS + i];
        if (inside) {
            coopMatStore(sum, Floats(push.y).at, (shareRow + firstT + t) * push.yStride + firstN + n, push.yStride, gl_CooperativeMatrixLayoutRowMajor);
        } else {
            coopMatStore(sum, patches, gl_SubgroupID * 256 + t * 16 + n, 16, gl_CooperativeMatrixLayoutRowMajor);
        }
    }
    if (inside) {
        return;
    }
    controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
    for (uint i = lane; i < 256; i += gl_SubgroupSize) {
        const uint t = firstT + i / 16;
        const uint n = firstN + i % 16;
        if (t < push.tokens && n < (push.outputs + 7) / 8 * 8) {
            Floats(push.y).at[(shareRow + t) * push.yStride + n] = n < push.outputs ? patches[gl_SubgroupID * 256 + i] : 0.0;
        }
    }
    controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
}

void main() {
    const uint lane = gl_SubgroupInvocationID;
    const uint thread = gl_SubgroupID * gl_SubgroupSize + lane;
    const uint blockM = gl_SubgroupID % SUBGROUPS_M * EACH_M;
    const uint blockN = gl_SubgroupID / SUBGROUPS_M * EACH_N;
    const uint tilesN = (push.outputs + BLOCKS_N * 16 - 1) / (BLOCKS_N * 16);
    const uint tilesT = gl_NumWorkGroups.x / (SHARES * tilesN);
    const uint share = SHARES > 1 ? gl_WorkGroupID.x / (tilesN * tilesT) : 0;
    const uint tile = gl_WorkGroupID.x - share * tilesN * tilesT;
    const uint group = tile / (TILES_TOGETHER * tilesN);
    const uint groupT = min(TILES_TOGETHER, tilesT - group * TILES_TOGETHER);
    const uint within = tile % (TILES_TOGETHER * tilesN);
    const uint firstT = (group * TILES_TOGETHER + within % groupT) * BLOCKS_M; // in blocks
    const uint firstN = within / groupT * BLOCKS_N;

    const uint begin = push.panels * share / SHARES;
    const uint end = push.panels * (share + 1) / SHARES;
    shareRow = share * push.tokens;

    const uint lastT = (push.tokens - 1) / 16;
    const uint lastN = (push.outputs - 1) / 16;
    [[unroll]] for (uint i = 0; i < LOADS_M; i++) {
        const uint at = i * THREADS + thread;
        xChunks[i] = min(firstT + at / PANEL_CHUNKS, lastT) * push.panels * PANEL_CHUNKS + at % PANEL_CHUNKS;
    }
    [[unroll]] for (uint i = 0; i < LOADS_N; i++) {
        const uint at = i * THREADS + thread;
        wChunks[i] = min(firstN + at / PANEL_CHUNKS, lastN) * push.panels * PANEL_CHUNKS + at % PANEL_CHUNKS;
    }
    [[unroll]] for (uint i = 0; i < EACH_M * EACH_N * ACROSS; i++) {
        sums[i] = SUMS(0.0);
    }
    fetch(begin);
    if (NORM) {
        for (uint i = thread; i < TILE_T * NORM_LANES; i += THREADS) {
            inverse[i / NORM_LANES] =
                inverseNorm(push.squares, normRow(firstT * 16 + i / NORM_LANES), push.parts, push.normWidth, push.eps, i % NORM_LANES, NORM_LANES);
        }
    }
    keep(0, thread);
    if (EARLY && begin + 1 < end) {
        fetch(begin + 1);
    }
    barrier();
    uint slice = 0;
    for (uint panel = begin; panel < end; panel++) {
        const bool more = panel + 1 < end;
        if (EARLY && more) {
            keep(SLICE - slice, thread);
        }
        if (panel + AHEAD < end) {
            fetch(panel + AHEAD);
        }
        if (FRAGMENTS) {
            multiply(slice, blockM, blockN, lane);
        } else {
            multiplyPlainly(slice, blockM, blockN);
        }
        slice = SLICE - slice;
        if (!EARLY && more) {
            keep(slice, thread);
        }
        barrier();
    }
    [[unroll]] for (uint i = 0; i < EACH_M; i++) {
        if (NORM) {
            [[unroll]] for (uint m = 0; m < ACROSS_M; m++) {
                SUMS factor;
                coopMatLoad(factor, inverse, (blockM + i) * 16 + m * SIZE_M, 0, gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (uint j = 0; j < EACH_N; j++) {
                    [[unroll]] for (uint n = 0; n < ACROSS_N; n++) {
                        const uint at = ((i * EACH_N + j) * ACROSS_M + m) * ACROSS_N + n;
                        [[unroll]] for (uint e = 0; e < factor.length(); e++) {
                            sums[at][e] *= factor[e];
                        }
                    }
                }
            }
        }
        [[unroll]] for (uint j = 0; j < EACH_N; j++) {
            store(i * EACH_N + j, (firstT + blockM + i) * 16, (firstN + blockN + j) * 16, lane);
        }
    }
}
