// The loop of project_coop where x passes through shared memory, once for all SIDES, which have the same columns: by stages of STAGE_PANELS
// panels, of which the next one loads while one is multiplied. As many panels of W are on their way, straight into registers.
#ifndef SHARED_ROWS_GLSL
#define SHARED_ROWS_GLSL

const uint STAGE_PANELS = 4;
const uint ROW_CHUNKS = STAGE_PANELS * PANEL_CHUNKS; // of a stage, for 16 rows
const uint STAGE = ROW_TILES * ROW_CHUNKS;
const uint STAGE_LOADS = SHARED ? STAGE / THREADS : 1;
const uint OUTPUT_FOURS = TILE_T * TILE_N / 4;

shared uvec4 pool[SHARED ? (2 * STAGE > OUTPUT_FOURS ? 2 * STAGE : OUTPUT_FOURS) : 1]; // two stages of x, then the tile's outputs as fp32

uvec4 deepW[SHARED ? STAGE_PANELS * STRIPS * 2 : 1];
uvec4 stageX[STAGE_LOADS];

// Starts the loads of a stage; behind the last panel x is zero.
void fetchStage(uint stage, uint firstToken, uint thread) {
    [[unroll]] for (uint i = 0; i < STAGE_LOADS; i++) {
        const uint at = i * THREADS + thread;
        const uint rowTile = min(firstToken / 16 + at / ROW_CHUNKS, (push.tokens - 1) / 16);
        const uint panel = stage * STAGE_PANELS + at % ROW_CHUNKS / PANEL_CHUNKS;
        stageX[i] = Uints4(push.x).at[(rowTile * push.panels + min(panel, push.panels - 1)) * PANEL_CHUNKS + at % PANEL_CHUNKS];
        if (panel >= push.panels) {
            stageX[i] = uvec4(0);
        }
    }
}

void keepStage(uint turn, uint thread) {
    [[unroll]] for (uint i = 0; i < STAGE_LOADS; i++) {
        pool[turn * STAGE + i * THREADS + thread] = stageX[i];
    }
}

// Starts the loads of a panel of W, behind the last one of that one again.
void loadDeepW(uint slot, uint panel) {
    const uint at = min(panel, push.panels - 1) * PANEL_CHUNKS;
    [[unroll]] for (uint i = 0; i < STRIPS * 2; i++) {
        deepW[slot * STRIPS * 2 + i] = Fixed4(push.w).at[wChunks[i] + at];
    }
}

void multiplyPanel(uint slot, uint turn, uint lane) {
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
        const uint at = turn * STAGE + t * ROW_CHUNKS + slot * PANEL_CHUNKS + lane; // of the lane's row, and eight behind it
        const uvec4 low = pool[at];
        const uvec4 high = pool[at + 32];
        [[unroll]] for (uint step = 0; step < 2; step++) {
            const ROWS rows = rowsOf(low, high, step);
            [[unroll]] for (uint s = 0; s < STRIPS; s++) {
                const uint w = (slot * STRIPS + s) * 2;
                sums[s * ROW_TILES + t] = coopMatMulAdd(rows, outputsOf(deepW[w], deepW[w + 1], step), sums[s * ROW_TILES + t]);
            }
        }
    }
}

void multiplyStage(uint stage, uint turn, uint firstToken, uint thread, uint lane) {
    fetchStage(stage + 1, firstToken, thread);
    [[unroll]] for (uint slot = 0; slot < STAGE_PANELS; slot++) {
        multiplyPanel(slot, turn, lane);
        loadDeepW(slot, (stage + 1) * STAGE_PANELS + slot);
    }
    keepStage(1 - turn, thread);
    barrier();
}

void beginW() {
    [[unroll]] for (uint slot = 0; slot < STAGE_PANELS; slot++) {
        loadDeepW(slot, slot);
    }
}

// After beginW. A last stage without columns multiplies zeros.
void multiplyShared(uint firstToken, uint thread, uint lane) {
    fetchStage(0, firstToken, thread);
    keepStage(0, thread);
    barrier();
    [[dont_unroll]] for (uint stage = 0; stage * STAGE_PANELS < push.panels; stage += 2) {
        multiplyStage(stage, 0, firstToken, thread, lane);
        multiplyStage(stage + 1, 1, firstToken, thread, lane);
    }
}

// Puts the sums where outputFour finds them behind the next barrier.
void keepSums() {
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        coopMatStore(sums[i], pool, (i % ROW_TILES * 16 * TILE_N + tileStrip(i / ROW_TILES) * 16) / 4, TILE_N / 4, gl_CooperativeMatrixLayoutRowMajor);
    }
}

// Four outputs of the tile, from the at-th on, a multiple of 4.
vec4 outputFour(uint at) { return uintBitsToFloat(pool[at / 4]); }

#endif
