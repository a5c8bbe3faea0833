// The loop of project_coop where x passes through shared memory, once for all SIDES, which have the same columns: by slices of SLICE_PANELS
// panels, of which the next one loads while one is multiplied. As many panels of W are on their way, straight into registers.
#ifndef SHARED_ROWS_GLSL
#define SHARED_ROWS_GLSL

const uint ROW_CHUNKS = SLICE_PANELS * PANEL_CHUNKS; // of a slice, for 16 rows
const uint SLICE = ROW_TILES * ROW_CHUNKS;
const uint SLICE_LOADS = SHARED ? SLICE / THREADS : 1;
const uint OUTPUT_FOURS = TILE_T * TILE_N / 4;

shared uvec4 pool[SHARED ? (2 * SLICE > OUTPUT_FOURS ? 2 * SLICE : OUTPUT_FOURS) : 1]; // two slices of x, then the tile's outputs as fp32

uvec4 sliceX[SLICE_LOADS];

// Starts the loads of a slice; behind the last panel x is zero.
void fetchSlice(uint slice, uint firstToken, uint thread) {
    [[unroll]] for (uint i = 0; i < SLICE_LOADS; i++) {
        const uint at = i * THREADS + thread;
        const uint rowTile = min(firstToken / 16 + at / ROW_CHUNKS, (push.tokens - 1) / 16);
        const uint panel = slice * SLICE_PANELS + at % ROW_CHUNKS / PANEL_CHUNKS;
        sliceX[i] = Uints4(push.x).at[(rowTile * push.panels + min(panel, push.panels - 1)) * PANEL_CHUNKS + at % PANEL_CHUNKS];
        if (panel >= push.panels) {
            sliceX[i] = uvec4(0);
        }
    }
}

void keepSlice(uint turn, uint thread) {
    [[unroll]] for (uint i = 0; i < SLICE_LOADS; i++) {
        pool[turn * SLICE + i * THREADS + thread] = sliceX[i];
    }
}

void multiplyPanel(uint slot, uint turn, uint lane) {
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
        const uint chunk = turn * SLICE + t * ROW_CHUNKS + slot * PANEL_CHUNKS + lane; // of the lane's row, and eight behind it
        const uvec4 low = pool[chunk];
        const uvec4 high = pool[chunk + 32];
        [[unroll]] for (uint step = 0; step < 2; step++) {
            const ROWS rows = rowsOf(low, high, step);
            [[unroll]] for (uint s = 0; s < STRIPS; s++) {
                const uint at = (slot * STRIPS + s) * 2;
                sums[s * ROW_TILES + t] = coopMatMulAdd(rows, outputsOf(w[at], w[at + 1], step), sums[s * ROW_TILES + t]);
            }
        }
    }
}

void multiplySlice(uint slice, uint turn, uint firstToken, uint thread, uint lane) {
    fetchSlice(slice + 1, firstToken, thread);
    [[unroll]] for (uint slot = 0; slot < SLICE_PANELS; slot++) {
        multiplyPanel(slot, turn, lane);
        loadW(slot, (slice + 1) * SLICE_PANELS + slot, push.panels);
    }
    keepSlice(1 - turn, thread);
    barrier();
}

void beginW() {
    [[unroll]] for (uint slot = 0; slot < SLICE_PANELS; slot++) {
        loadW(slot, slot, push.panels);
    }
}

// After beginW. A last slice without columns multiplies zeros.
void multiplyShared(uint firstToken, uint thread, uint lane) {
    fetchSlice(0, firstToken, thread);
    keepSlice(0, thread);
    barrier();
    [[dont_unroll]] for (uint slice = 0; slice * SLICE_PANELS < push.panels; slice += 2) {
        multiplySlice(slice, 0, firstToken, thread, lane);
        multiplySlice(slice + 1, 1, firstToken, thread, lane);
    }
}

// Puts the sums where outputFour finds them behind the next barrier.
void keepSums() {
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        const uint corner = (i % ROW_TILES * 16 * TILE_N + tileStrip(i / ROW_TILES) * 16) / 4;
        coopMatStore(sums[i], pool, corner, TILE_N / 4, gl_CooperativeMatrixLayoutRowMajor);
    }
}

// Four outputs of the tile, from the at-th on, a multiple of 4.
vec4 outputFour(uint at) { return uintBitsToFloat(pool[at / 4]); }

#endif
