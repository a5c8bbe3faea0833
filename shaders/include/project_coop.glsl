// y[t,n] = inv(t) * sum_k W[n,k] * x[t,k] for few rows, up to 64, or 192 where W is not wide (mostNarrow in project.go): W streams from memory
// once for every 64 of them, straight into the registers of the subgroups that multiply it. A workgroup has ROW_TILES times 16 rows. Its SPLIT
// subgroups side by side divide the columns between them and add up in shared memory, in their order; each of its SIDES has STRIPS times 16
// outputs of the same rows. Several sides that are not split may have x in common (shared_rows.glsl).
//
// Grid: {tiles of outputs * tiles of rows, 1, 1}; tiles of rows may be fewer than the tokens need.
#define LEFT coherent
#include "coop.glsl"

layout(constant_id = 7) const uint STRIPS = 2;    // of 16 outputs, of a side; those of all sides are even where outputs end in pairs
layout(constant_id = 8) const uint ROW_TILES = 1; // of 16 rows, up to 4
layout(constant_id = 9) const uint SPLIT = 8;     // subgroups of a side
layout(constant_id = 10) const bool GATHER = false; // the norm's rows are looked up
layout(constant_id = 11) const uint ENDING = 0;   // what the kernel does with its outputs; see epilogue.glsl
layout(constant_id = 12) const bool LORA = false;
layout(constant_id = 13) const bool HALF = false; // the ending leaves halves
layout(constant_id = 14) const uint HEAD_DIM = 128;
layout(constant_id = 15) const uint SIDES = 1;
layout(constant_id = 16) const bool FLOATS = true; // the ending leaves fp32 rows
layout(constant_id = 17) const bool FLOW = false; // the stages around the ending one flow; else the shrink is done before
layout(constant_id = 18) const bool SHARED = false; // x passes through shared memory; with FRAGMENTS, SPLIT 1, and without LORA
layout(constant_id = 19) const uint SPARE = 0; // words of shared memory that nobody uses, see flowDivision in flow.go
const bool WHOLE = LORA && FRAGMENTS; // the tile's outputs get their delta before they end

#include "ahead.glsl"
#include "tile.glsl"
#include "flow.glsl"

layout(push_constant) uniform Push {
    uint64_t w;        // TYPE, in panels
    uint64_t x;        // TYPE, in panels: halves
    uint64_t y;        // fp32 [t][yStride]
    uint64_t squares;  // fp32 [row][parts]
    uint64_t gather;   // uint32 [t], the norm's row of each t, with GATHER
    uint64_t epilogue; // Epilogue [1]
    uint64_t slots;    // uint32 [t]: as the Epilogue's
    uint64_t flow;     // the counters of the stage before, see flow.glsl, with FLOW
    uint panels; // that the columns take
    uint yStride;
    uint outputs;
    uint tokens;
    uint parts;
    uint normWidth;
    float eps;
} push;

const uint SLICE_PANELS = 4; // panels of x that pass through shared memory at a time, with SHARED
const uint TILE_STRIPS = SIDES * STRIPS;
const uint TILE_N = TILE_STRIPS * 16;
const uint TILE_T = ROW_TILES * 16;
const uint EACH = STRIPS * ROW_TILES * ACROSS;
// The second panel of a round begins to load in it, not as soon as the one before is multiplied. That takes 30 to 40 registers less, and with these
// numbers of rows it is faster: see BENCHMARKS, Rounds of few rows.
const bool LATE = ROW_TILES == 2 || ROW_TILES == 3;
const bool PAIRS = ENDING == END_ROPE_STORE || ENDING == END_SILU_MUL; // the second half of the tile's strips is far from the first
const uint NORM_LANES = THREADS / TILE_T >= 8 ? 8 : THREADS / TILE_T >= 4 ? 4 : THREADS / TILE_T >= 2 ? 2 : 1; // per row
#include "norm.glsl"
const uint SUBGROUPS = SPLIT * SIDES;
const uint BLOCKS = ROW_TILES * TILE_STRIPS;                          // of 16 rows by 16 outputs
const uint DELTA_PARTS = SUBGROUPS > BLOCKS ? SUBGROUPS / BLOCKS : 1; // subgroups that share the adapters of one; none has more than one
const uint PARTIAL = SPLIT > ROW_TILES ? SPLIT * TILE_STRIPS : BLOCKS; // one row tile's sums of all subgroups, then the deltas

shared float partial[SHARED ? 1 : PARTIAL * 256];
shared float total[SHARED ? 1 : TILE_T * TILE_N];
shared float inverse[TILE_T];
shared uint spare[SPARE > 0 ? SPARE : 1];

#include "delta_coop.glsl"

uint wChunks[STRIPS * 2]; // where the lane's chunks begin
uint xChunks[ROW_TILES * 2];
uvec4 w[(SHARED ? SLICE_PANELS : 2) * STRIPS * 2]; // of as many panels as are on their way
uvec4 x[2 * ROW_TILES * 2];
SUMS sums[EACH];

uint normRow(uint t) {
    t = min(t, push.tokens - 1);
    return GATHER ? Uints(push.gather).at[t] : t;
}

uint partOf() { return gl_SubgroupID % SPLIT; } // of the columns

// The place of one of the subgroup's strips in the tile.
uint tileStrip(uint strip) { return gl_SubgroupID / SPLIT * STRIPS + strip; }

// The row of W where one of the subgroup's strips begins.
uint stripRow(uint firstOutput, uint strip) {
    strip = tileStrip(strip);
    if (!PAIRS) {
        return firstOutput + strip * 16;
    }
    const bool high = strip >= TILE_STRIPS / 2;
    return columnOf(firstOutput + (high ? 4 : 0), push.outputs) + strip % (TILE_STRIPS / 2) * 16;
}

// Where the lane's chunks of W and x begin.
void findChunks(uint firstOutput, uint firstToken, uint lane) {
    const uint last = (push.outputs + 15) / 16 * 16 - 1;
    const uint laneRow = lane / 4; // of x and W, and eight behind it
    [[unroll]] for (uint i = 0; i < STRIPS * 2; i++) {
        wChunks[i] = chunkOf(min(stripRow(firstOutput, i / 2) + i % 2 * 8 + laneRow, last), lane % 4 * 8, push.panels);
    }
    [[unroll]] for (uint i = 0; i < ROW_TILES * 2; i++) {
        xChunks[i] = chunkOf(min(firstToken + i * 8 + laneRow, (push.tokens - 1) | 15), lane % 4 * 8, push.panels);
    }
}

// The chunk of a strip where a panel begins, or from end on the one before it. A part without columns may have end 0.
uint panelAt(uint panel, uint end) { return min(panel, max(end, 1) - 1) * PANEL_CHUNKS; }

void loadX(uint slot, uint panel, uint end) {
    const uint at = panelAt(panel, end);
    [[unroll]] for (uint i = 0; i < ROW_TILES * 2; i++) {
        x[slot * ROW_TILES * 2 + i] = Uints4(push.x).at[xChunks[i] + at];
        if (panel >= end) {
            x[slot * ROW_TILES * 2 + i] = uvec4(0);
        }
    }
}

void loadW(uint slot, uint panel, uint end) {
    const uint at = panelAt(panel, end);
    [[unroll]] for (uint i = 0; i < STRIPS * 2; i++) {
        w[slot * STRIPS * 2 + i] = Fixed4(push.w).at[wChunks[i] + at];
    }
}

// Starts the loads of a panel; from end on, of the one before it, with zeros for x: behind a condition, the loads of a round would be waited for
// where its paths meet. Rows that the dispatch does not have are what lies there; nobody takes their outputs.
void load(uint slot, uint panel, uint end) {
    loadX(slot, panel, end);
    loadW(slot, panel, end);
}

void multiply(uint slot) {
    [[unroll]] for (uint step = 0; step < 2; step++) {
        const uint xs = slot * ROW_TILES * 2;
        const uint ws = slot * STRIPS * 2;
        ROWS rows[ROW_TILES];
        [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
            rows[t] = rowsOf(x[xs + 2 * t], x[xs + 2 * t + 1], step);
        }
        [[unroll]] for (uint s = 0; s < STRIPS; s++) {
            OUTPUTS outputs = outputsOf(w[ws + 2 * s], w[ws + 2 * s + 1], step);
            [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
                sums[s * ROW_TILES + t] = coopMatMulAdd(rows[t], outputs, sums[s * ROW_TILES + t]);
            }
        }
    }
}

// One panel of every strip by the language's loads.
void multiplyPlainly(uint panel, uint firstOutput, uint firstToken) {
    [[unroll]] for (uint step = 0; step < STEPS; step++) {
        ROWS rows[ROW_TILES * ACROSS_M];
        [[unroll]] for (uint t = 0; t < ROW_TILES * ACROSS_M; t++) {
            coopMatLoad(rows[t], Uints4(push.x).at, chunkOf(firstToken + t * SIZE_M, step * SIZE_K, push.panels) + panel * PANEL_CHUNKS, 4,
                        gl_CooperativeMatrixLayoutRowMajor);
        }
        [[unroll]] for (uint s = 0; s < STRIPS * ACROSS_N; s++) {
            const uint row = min(stripRow(firstOutput, s / ACROSS_N), (push.outputs - 1) / 16 * 16) + s % ACROSS_N * SIZE_N;
            OUTPUTS outputs;
            coopMatLoad(outputs, Fixed4(push.w).at, chunkOf(row, step * SIZE_K, push.panels) + panel * PANEL_CHUNKS, 4,
                        gl_CooperativeMatrixLayoutColumnMajor);
            [[unroll]] for (uint t = 0; t < ROW_TILES * ACROSS_M; t++) {
                const uint i = ((s / ACROSS_N * ROW_TILES + t / ACROSS_M) * ACROSS_M + t % ACROSS_M) * ACROSS_N + s % ACROSS_N;
                sums[i] = coopMatMulAdd(rows[t], outputs, sums[i]);
            }
        }
    }
}

// The factors of the tile's rows.
void findInverse(uint thread, uint firstToken) {
    if (NORM) {
        for (uint i = thread; i < TILE_T * NORM_LANES; i += THREADS) {
            inverse[i / NORM_LANES] =
                inverseNorm(push.squares, normRow(firstToken + i / NORM_LANES), push.parts, push.normWidth, push.eps, i % NORM_LANES);
        }
    }
}

// Adds up the subgroups' sums of one row tile.
void addUpTile(uint t, uint thread) {
    [[unroll]] for (uint s = 0; s < STRIPS; s++) {
        [[unroll]] for (uint i = 0; i < ACROSS; i++) {
            coopMatStore(sums[(s * ROW_TILES + t) * ACROSS + i], partial,
                         (partOf() * TILE_STRIPS + tileStrip(s)) * 256 + i / ACROSS_N * SIZE_M * 16 + i % ACROSS_N * SIZE_N, 16, gl_CooperativeMatrixLayoutRowMajor);
        }
    }
    barrier();
    for (uint i = thread; i < TILE_STRIPS * 256; i += THREADS) {
        float sum = 0.0;
        [[unroll]] for (uint part = 0; part < SPLIT; part++) {
            sum += partial[part * TILE_STRIPS * 256 + i];
        }
        const uint row = t * 16 + i % 256 / 16;
        total[row * TILE_N + i / 256 * 16 + i % 16] = sum;
    }
}

// Not a loop over the row tiles: with barriers inside it may not be unrolled, and the sums would end up in memory.
void addUp(uint thread) {
    addUpTile(0, thread);
    if (ROW_TILES > 1) {
        barrier();
        addUpTile(1, thread);
    }
    if (ROW_TILES > 2) {
        barrier();
        addUpTile(2, thread);
    }
    if (ROW_TILES > 3) {
        barrier();
        addUpTile(3, thread);
    }
}

#include "shared_rows.glsl"

float factorOf(uint row) { return NORM ? inverse[row] : 1.0; }

vec4 fourOf(uint row, uint n) {
    const uint at = row * TILE_N + n;
    vec4 sum;
    if (SHARED) {
        sum = outputFour(at);
    } else {
        sum = vec4(total[at], total[at + 1], total[at + 2], total[at + 3]);
    }
    precise vec4 v = sum * factorOf(row);
    return v;
}

Eight tileOutputs(uint unit, uint row) {
    Eight v;
    if (PAIRS) {
        v = Eight(fourOf(row, unit * 4), fourOf(row, TILE_N / 2 + unit * 4));
    } else {
        v = Eight(fourOf(row, unit * 8), fourOf(row, unit * 8 + 4));
    }
    if (WHOLE) {
        const uint first = (row / 16 * TILE_STRIPS + unit / QUAD_UNITS * 2) * DELTA_PARTS;
        Eight delta = deltaUnit(first, DELTA_PARTS, row % 16, unit);
        [[dont_unroll]] for (uint part = 1; part < DELTA_PARTS; part++) {
            delta = add8(delta, deltaUnit(first + part, DELTA_PARTS, row % 16, unit));
        }
        v = add8(v, delta);
    }
    return v;
}

// One of the tile's blocks of deltas, or the part of it that is at index in partial.
Delta tileDelta(uint index, uint firstToken, uint firstOutput, uint lane) {
    const Epilogue e = Epilogues(push.epilogue).at[0];
    const uint block = index / DELTA_PARTS;
    const uint t = firstToken + block / TILE_STRIPS * 16 + lane % 16;
    const uint slot = block < BLOCKS && t < push.tokens ? Uints(push.slots).at[t] : NO_ROW;
    const uint column = blockColumn(e, firstOutput / 8 + block % TILE_STRIPS / 2 * QUAD_UNITS, block % 2);
    return deltaOf(e, slot, column, index % DELTA_PARTS, DELTA_PARTS, lane);
}

void storeDelta(Delta d, Epilogue e, uint index, uint firstToken, uint lane) {
    coopMatStore(addUpDelta(d, e, firstToken + index / DELTA_PARTS / TILE_STRIPS * 16, lane), partial, index * 256, 16,
                 gl_CooperativeMatrixLayoutRowMajor);
}

void main() {
    const uint lane = gl_SubgroupInvocationID;
    const uint thread = gl_SubgroupID * gl_SubgroupSize + lane;
    const uint rowTiles = gl_NumWorkGroups.x / ((push.outputs + TILE_N - 1) / TILE_N);
    const uint firstToken = gl_WorkGroupID.x % rowTiles * TILE_T;
    const uint firstOutput = gl_WorkGroupID.x / rowTiles * TILE_N;

    if (SPARE > 0 && push.panels >= 1u << 31) { // never, which the compiler does not know: it would leave the memory out
        atomicAdd(spare[thread % SPARE], thread);
    }
    Ahead ahead;
    if (ENDING != END_NONE) {
        ahead = fetchAhead(push.epilogue, push.slots, firstToken, TILE_T, push.tokens, thread);
    }
    Delta delta;
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        sums[i] = SUMS(0.0);
    }
    uint panel = push.panels * partOf() / SPLIT;
    const uint end = push.panels * (partOf() + 1) / SPLIT;
    if (FRAGMENTS) {
        findChunks(firstOutput, firstToken, lane);
    }
    if (SHARED) {
        beginW();
        if (FLOW) {
            awaitStage(push.flow, thread);
        }
        findInverse(thread, firstToken);
        multiplyShared(firstToken, thread, lane);
    } else if (FRAGMENTS) {
        loadW(0, panel, end);
        if (!LATE) {
            loadW(1, panel + 1, end);
        }
        if (FLOW) {
            awaitStage(push.flow, thread);
        }
        loadX(0, panel, end);
        if (!LATE) {
            loadX(1, panel + 1, end);
        }
        findInverse(thread, firstToken); // while they are on their way
        if (WHOLE) {
            delta = tileDelta(gl_SubgroupID, firstToken, firstOutput, lane);
        }
        for (; panel < end; panel += 2) {
            if (LATE) {
                load(1, panel + 1, end);
            }
            multiply(0);
            load(0, panel + 2, end);
            multiply(1);
            if (!LATE) {
                load(1, panel + 3, end);
            }
        }
    } else {
        if (FLOW) {
            awaitStage(push.flow, thread);
        }
        findInverse(thread, firstToken);
        for (; panel < end; panel++) {
            multiplyPlainly(panel, firstOutput, firstToken);
        }
    }
    if (WHOLE) {
        beginDelta(delta, lane);
    }
    if (ENDING != END_NONE) {
        keepAhead(ahead, TILE_T, thread);
        if (LORA && FLOW && thread == 0) {
            awaitOwed(push.flow, FLOW_STRIDE + FLOW_SHRINK);
        }
    }
    if (SHARED) {
        keepSums();
    } else {
        addUp(thread);
    }
    barrier();
    if (ENDING != END_NONE) {
        const Epilogue e = epilogueAhead();
        if (LORA && FLOW) {
            meet();
        }
        if (WHOLE) {
            if (gl_SubgroupID < BLOCKS * DELTA_PARTS) {
                storeDelta(delta, e, gl_SubgroupID, firstToken, lane);
            }
            barrier();
        }
        endTile(e, gl_WorkGroupID.x, rowTiles, TILE_N / 8, TILE_T, thread, THREADS);
        if (FLOW) {
            leaveStage(push.flow, thread);
        }
        return;
    }
    for (uint i = thread; i < TILE_T * TILE_N / 4; i += THREADS) {
        const uint t = i / (TILE_N / 4);
        const uint n = firstOutput + i % (TILE_N / 4) * 4;
        if (firstToken + t < push.tokens && n < (push.outputs + 7) / 8 * 8) {
            const bvec4 pad = greaterThanEqual(uvec4(n) + uvec4(0, 1, 2, 3), uvec4(push.outputs));
            Floats4(push.y).at[((firstToken + t) * push.yStride + n) >> 2] = mix(fourOf(t, n - firstOutput), vec4(0.0), pad);
        }
    }
}
