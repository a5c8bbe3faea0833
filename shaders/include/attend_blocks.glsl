// What attend_coop does with scores and sums where which element of a matrix a lane has is the driver's choice: rows are folded by passing one
// block of columnwise maxima through shared memory, and spread by loading a column with stride 0. Exponentials become an operand of the
// second product the same way, as words of two neighbouring keys: for this the keys of two blocks alternate.
#ifndef ATTEND_BLOCKS_GLSL
#define ATTEND_BLOCKS_GLSL

const uint SHARE = LANES / SIZE_M; // lanes that share a row of a block, a power of two

shared float spread[ROWS]; // one value per row, to be loaded as columns
shared float seen[ROWS];   // keys that a row sees
shared float evens[SIZE_N]; // 0, 2, 4, …

BLOCK highest[EACH]; // of a row's scaled scores, in units of log 2
BLOCK total[EACH];   // columnwise sums of exponentials
float tops[EACH];    // as highest, of the row that the lane folds

// Makes what lanes of the subgroup wrote to shared memory visible to its other lanes.
void share() { controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease); }

// Puts what is constant into shared memory; behind the next barrier it is there.
void beginBlocks(PrefillItem item, uint thread) {
    for (uint row = thread; row < ROWS; row += THREADS) {
        seen[row] = float(item.start + tokenOf(item, row) + 1);
    }
    for (uint i = thread; i < SIZE_N; i += THREADS) {
        evens[i] = float(2 * i);
    }
    [[unroll]] for (uint e = 0; e < EACH; e++) {
        highest[e] = BLOCK(LOWEST);
        total[e] = BLOCK(0.0);
        tops[e] = LOWEST;
    }
}

// Gives the keys that a row must not see the lowest score.
void maskBlocks(uint first) {
    BLOCK even;
    coopMatLoad(even, evens, 0, 0, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint e = 0; e < EACH; e++) {
        BLOCK bound;
        coopMatLoad(bound, seen, (gl_SubgroupID * EACH + e) * SIZE_M, 0, gl_CooperativeMatrixLayoutColumnMajor);
        [[unroll]] for (uint b = 0; b < BLOCKS; b++) {
            const float begin = float(first + b / 2 * PAIR + b % 2);
            [[unroll]] for (uint i = 0; i < even.length(); i++) {
                bool visible = begin + even[i] < bound[i];
                scores[e * BLOCKS + b][i] = visible ? scores[e * BLOCKS + b][i] : LOWEST;
            }
        }
    }
}

// Raises the rows' running maxima to those of the scores, and rescales what was summed under them.
void raiseBlocks(uint e, float scale) {
    const uint corner = PATCHES + gl_SubgroupID * PATCH;
    const uint lane = gl_SubgroupInvocationID;
    const uint row = (gl_SubgroupID * EACH + e) * SIZE_M;
    BLOCK top = scores[e * BLOCKS];
    [[unroll]] for (uint b = 1; b < BLOCKS; b++) {
        [[unroll]] for (uint i = 0; i < top.length(); i++) {
            top[i] = max(top[i], scores[e * BLOCKS + b][i]);
        }
    }
    coopMatStore(top, pool, corner, PATCH_LINE, gl_CooperativeMatrixLayoutRowMajor);
    share();
    float high = LOWEST;
    [[unroll]] for (uint v = 0; v < FOURS; v += SHARE) {
        if (v + lane % SHARE < FOURS) {
            vec4 four = uintBitsToFloat(pool[corner + lane / SHARE * PATCH_LINE + v + lane % SHARE]);
            high = max(high, max(max(four.x, four.y), max(four.z, four.w)));
        }
    }
    [[unroll]] for (uint distance = SHARE / 2; distance > 0; distance /= 2) {
        high = max(high, subgroupShuffleXor(high, distance));
    }
    tops[e] = max(tops[e], high * scale);
    if (lane % SHARE == 0) {
        spread[row + lane / SHARE] = tops[e];
    }
    share();
    BLOCK raised;
    coopMatLoad(raised, spread, row, 0, gl_CooperativeMatrixLayoutColumnMajor);
    BLOCK factor;
    [[unroll]] for (uint i = 0; i < factor.length(); i++) {
        factor[i] = exp2(highest[e][i] - raised[i]);
        total[e][i] *= factor[i];
    }
    highest[e] = raised;
    [[unroll]] for (uint c = 0; c < COLUMNS; c++) {
        [[unroll]] for (uint i = 0; i < factor.length(); i++) {
            sums[e * COLUMNS + c][i] *= factor[i];
        }
    }
    share();
}

// Turns scores into exponentials under the running maximum, and these into operands of the second product.
void exponentialsOfBlocks(uint e, float scale) {
    const uint corner = PATCHES + gl_SubgroupID * PATCH;
    [[unroll]] for (uint p = 0; p < BLOCKS / 2; p++) {
        BLOCK words;
        [[unroll]] for (uint i = 0; i < words.length(); i++) {
            const vec2 score = vec2(scores[e * BLOCKS + 2 * p][i], scores[e * BLOCKS + 2 * p + 1][i]);
            const vec2 w = exp2(fma(score, vec2(scale), vec2(-highest[e][i])));
            total[e][i] += w.x + w.y;
            words[i] = uintBitsToFloat(packElements(w));
        }
        coopMatStore(words, pool, corner, PATCH_LINE, gl_CooperativeMatrixLayoutRowMajor);
        share();
        [[unroll]] for (uint k = 0; k < PAIR / SIZE_K; k++) {
            coopMatLoad(weights[e * PARTS + p * (PAIR / SIZE_K) + k], pool, corner + k * SIZE_K / 8, PATCH_LINE, gl_CooperativeMatrixLayoutRowMajor);
        }
        share();
    }
}

// Divides the sums by the exponentials' and stores them by way of the subgroup's patch.
void storeBlocks(PrefillItem item, uint e) {
    const uint corner = PATCHES + gl_SubgroupID * PATCH;
    const uint lane = gl_SubgroupInvocationID;
    const uint row0 = (gl_SubgroupID * EACH + e) * SIZE_M;
    coopMatStore(total[e], pool, corner, PATCH_LINE, gl_CooperativeMatrixLayoutRowMajor);
    share();
    float sum = 0.0;
    [[unroll]] for (uint v = 0; v < FOURS; v += SHARE) {
        if (v + lane % SHARE < FOURS) {
            vec4 four = uintBitsToFloat(pool[corner + lane / SHARE * PATCH_LINE + v + lane % SHARE]);
            sum += (four.x + four.y) + (four.z + four.w);
        }
    }
    [[unroll]] for (uint distance = SHARE / 2; distance > 0; distance /= 2) {
        sum += subgroupShuffleXor(sum, distance);
    }
    if (lane % SHARE == 0) {
        spread[row0 + lane / SHARE] = 1.0 / sum;
    }
    share();
    BLOCK inverse;
    coopMatLoad(inverse, spread, row0, 0, gl_CooperativeMatrixLayoutColumnMajor);
    [[unroll]] for (uint c = 0; c < COLUMNS; c++) {
        BLOCK block = sums[e * COLUMNS + c];
        [[unroll]] for (uint i = 0; i < block.length(); i++) {
            block[i] *= inverse[i];
        }
        coopMatStore(block, pool, corner, PATCH_LINE, gl_CooperativeMatrixLayoutRowMajor);
        share();
        [[unroll]] for (uint u = 0; u < SIZE_M * FOURS; u += LANES) {
            const uint row = row0 + (u + lane) / FOURS;
            if (u + lane < SIZE_M * FOURS && row < item.rows * push.group) {
                const uint t = item.row + row / push.group;
                const uint column = headOf(row) * HEAD_DIM + c * SIZE_N + (u + lane) % FOURS * 4;
                const vec4 v = uintBitsToFloat(pool[corner + (u + lane) / FOURS * PATCH_LINE + (u + lane) % FOURS]);
                if (FLOATS) {
                    Floats4(push.outputs).at[(t * push.outStride + column) >> 2] = v;
                }
                if (HALF) {
                    storeHalves4(push.halves, t, column, push.halfPanels, v);
                }
            }
        }
        share();
    }
}

#endif
