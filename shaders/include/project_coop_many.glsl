// y[t,n] = inv(t) * sum_k W[n,k] * x[t,k] for many rows. A workgroup computes a tile of rows by outputs; both operands pass through
// shared memory by slices of 32 columns, the next of which are on their way to registers while one is multiplied. Subgroups stand
// SUBGROUPS_M by SUBGROUPS_N over the tile, each with EACH_M by EACH_N blocks of 16 by 16.
//
// Tiles that would leave places of the device empty are divided along the columns (divide.glsl).
//
// Grid: {workgroups, 1, 1} as divided. Neighbours share outputs, for TILES_TOGETHER tiles of rows, so that what they read is in the cache.
#include "coop.glsl"

layout(constant_id = 7) const uint EACH_M = 4;
layout(constant_id = 8) const uint EACH_N = 4;
layout(constant_id = 9) const uint SUBGROUPS_M = 2;
layout(constant_id = 10) const uint SUBGROUPS_N = 2;
layout(constant_id = 11) const bool GATHER = false; // the norm's rows are looked up
layout(constant_id = 12) const bool VARYING = false; // the step may have fewer rows

#include "divide.glsl"
#include "norm.glsl"
#include "panels.glsl"

layout(push_constant) uniform Push {
    uint64_t w;       // TYPE, in panels
    uint64_t x;       // TYPE, in panels: halves
    uint64_t y;       // fp32 [t][yStride]
    uint64_t squares; // fp32 [row][parts]
    uint64_t gather;  // uint32 [t], the norm's row of each t, with GATHER
    uint64_t grid;    // uint32 [4]: of the step, whose last is how many tiles of rows there are, with VARYING
    uint64_t left;    // Parts
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
const uint BLOCKS_M = SUBGROUPS_M * EACH_M; // of 16 rows
const uint BLOCKS_N = SUBGROUPS_N * EACH_N; // of 16 outputs
const uint CHUNKS_M = BLOCKS_M * PANEL_CHUNKS;
const uint CHUNKS_N = BLOCKS_N * PANEL_CHUNKS;
const uint SLICE = CHUNKS_M + CHUNKS_N;
const uint LOADS_M = CHUNKS_M / THREADS;
const uint LOADS_N = CHUNKS_N / THREADS;
const uint TILE_T = BLOCKS_M * 16;
const uint SUMS_EACH = EACH_M * EACH_N * ACROSS; // of a subgroup
// The next slice goes into shared memory before this one is multiplied, while the one behind it loads. That takes more registers, which
// larger tiles do not have.
const bool EARLY = EACH_M * EACH_N <= 8;
const uint AHEAD = EARLY ? 2 : 1; // slices that a load is ahead
const uint NORM_LANES = THREADS / TILE_T >= 8 ? 8 : THREADS / TILE_T >= 4 ? 4 : THREADS / TILE_T >= 2 ? 2 : 1; // per row

shared uvec4 pool[2 * SLICE];
shared float patches[SUBGROUPS_M * SUBGROUPS_N * 256];
shared float inverse[TILE_T];

uint xChunks[LOADS_M]; // of the thread's chunks, in the matrix
uint wChunks[LOADS_N];
uvec4 nextX[LOADS_M];
uvec4 nextW[LOADS_N];
SUMS sums[SUMS_EACH];

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
            coopMatStore(sum, Floats(push.y).at, (firstT + t) * push.yStride + firstN + n, push.yStride, gl_CooperativeMatrixLayoutRowMajor);
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
            Floats(push.y).at[t * push.yStride + n] = n < push.outputs ? patches[gl_SubgroupID * 256 + i] : 0.0;
        }
    }
    controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
}

// Starts the sums of a tile, the corner of which is at so many blocks, at zero, and adds up panels of it.
void addUp(uint firstT, uint firstN, uint begin, uint end, uint blockM, uint blockN, uint thread, uint lane) {
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
    [[unroll]] for (uint i = 0; i < SUMS_EACH; i++) {
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

// Ends a tile: scales the sums and writes them.
void endTile(uint firstT, uint firstN, uint blockM, uint blockN, uint lane) {
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

void main() {
    const uint lane = gl_SubgroupInvocationID;
    const uint thread = gl_SubgroupID * gl_SubgroupSize + lane;
    const uint blockM = gl_SubgroupID % SUBGROUPS_M * EACH_M;
    const uint blockN = gl_SubgroupID / SUBGROUPS_M * EACH_N;
    const uint tilesN = (push.outputs + BLOCKS_N * 16 - 1) / (BLOCKS_N * 16);
    const uint tilesT = VARYING ? Uints(push.grid).at[3] : (push.tokens + TILE_T - 1) / TILE_T;
    const Division d = divisionOf(tilesN, tilesT, push.places, push.panels);
    const uint base = d.whole * push.panels; // where the panels of the tiles that are divided begin
    const uint workgroup = gl_WorkGroupID.x - d.whole * tilesT; // of those that divide them
    const uint worker = workgroup / tilesT;
    uint row = workgroup % tilesT;
    uint begin; // of the workgroup's panels, counted through a row of tiles
    uint end;
    if (gl_WorkGroupID.x < d.whole * tilesT) {
        const uint group = gl_WorkGroupID.x / (TILES_TOGETHER * d.whole);
        const uint groupT = min(TILES_TOGETHER, tilesT - group * TILES_TOGETHER);
        const uint within = gl_WorkGroupID.x % (TILES_TOGETHER * d.whole);
        row = group * TILES_TOGETHER + within % groupT;
        begin = within / groupT * push.panels;
        end = begin + push.panels;
    } else {
        begin = base + firstPanel(d, worker);
        end = base + firstPanel(d, worker + 1);
    }
    const uint firstT = row * BLOCKS_M; // in blocks
    for (uint tile = (end - 1) / push.panels;; tile--) {
        const uint first = tile * push.panels;
        const uint firstN = tile * BLOCKS_N;
        addUp(firstT, firstN, max(begin, first) - first, min(end - first, push.panels), blockM, blockN, thread, lane);
        if (end - first < push.panels) {
            storePart(workgroup, lane);
            leavePart(push.left, workgroup, thread);
        } else {
            for (uint other = worker; begin > first && base + firstPanel(d, other) > first;) {
                other--;
                awaitPart(push.left, other * tilesT + row, thread);
                addPart(other * tilesT + row, lane);
            }
            endTile(firstT, firstN, blockM, blockN, lane);
        }
        if (first <= begin) {
            return;
        }
        barrier();
    }
}
