// What attend_coop does with scores and sums where lanes hold matrices as FRAGMENTS of coop.glsl says: four elements each of rows lane / 4 and
// lane / 4 + 8 of a block, at the same places in sums and in the first operand. So rows are folded between four lanes, exponentials are an
// operand where they are, and none of this passes through shared memory.
#ifndef ATTEND_ROWS_GLSL
#define ATTEND_ROWS_GLSL

vec2 rowTops[EACH];    // of the lane's two rows: the running maxima of scaled scores, in units of log 2
vec2 rowTotals[EACH];  // the lane's share of the sums of their exponentials
uvec2 rowBounds[EACH]; // keys that they see

// The lane's first or second row, of the tile.
uint rowOf(uint e, uint second) { return (gl_SubgroupID * EACH + e) * SIZE_M + second * 8 + gl_SubgroupInvocationID / 4; }

void beginRows(PrefillItem item) {
    [[unroll]] for (uint e = 0; e < EACH; e++) {
        rowTops[e] = vec2(LOWEST);
        rowTotals[e] = vec2(0.0);
        rowBounds[e] = item.start + 1 + uvec2(tokenOf(item, rowOf(e, 0)), tokenOf(item, rowOf(e, 1)));
    }
}

// Gives the keys that a row must not see the lowest score.
void maskRows(uint first) {
    const uint key = first + gl_SubgroupInvocationID % 4 * 2; // of the lane's first element
    [[unroll]] for (uint e = 0; e < EACH; e++) {
        [[unroll]] for (uint b = 0; b < BLOCKS; b++) {
            [[unroll]] for (uint i = 0; i < 8; i++) {
                const bool visible = key + b * SIZE_N + i % 2 + i / 2 % 2 * 8 < rowBounds[e][i / 4];
                scores[e * BLOCKS + b][i] = visible ? scores[e * BLOCKS + b][i] : LOWEST;
            }
        }
    }
}

// Raises the rows' running maxima to those of the scores, and rescales what was summed under them.
void raiseRows(uint e, float scale) {
    vec2 high = vec2(LOWEST);
    [[unroll]] for (uint b = 0; b < BLOCKS; b++) {
        [[unroll]] for (uint i = 0; i < 4; i++) {
            high = max(high, vec2(scores[e * BLOCKS + b][i], scores[e * BLOCKS + b][i + 4]));
        }
    }
    [[unroll]] for (uint distance = 1; distance < 4; distance *= 2) {
        high = max(high, subgroupShuffleXor(high, distance));
    }
    const vec2 raised = max(rowTops[e], high * scale);
    const vec2 factor = exp2(rowTops[e] - raised);
    rowTops[e] = raised;
    rowTotals[e] *= factor;
    [[unroll]] for (uint c = 0; c < COLUMNS; c++) {
        [[unroll]] for (uint i = 0; i < 8; i++) {
            sums[e * COLUMNS + c][i] *= factor[i / 4];
        }
    }
}

// Turns scores into exponentials under the running maximum, and these into operands of the second product.
void exponentialsOfRows(uint e, float scale) {
    [[unroll]] for (uint b = 0; b < BLOCKS; b++) {
        [[unroll]] for (uint i = 0; i < 8; i += 2) {
            const vec2 score = vec2(scores[e * BLOCKS + b][i], scores[e * BLOCKS + b][i + 1]);
            const vec2 w = exp2(fma(score, vec2(scale), vec2(-rowTops[e][i / 4])));
            rowTotals[e][i / 4] += w.x + w.y;
            const ELEMENT2 pair = elements(packNear(w));
            weights[e * PARTS + b][i] = pair.x;
            weights[e * PARTS + b][i + 1] = pair.y;
        }
    }
}

// Divides the sums by the exponentials' and stores them, two columns at a time.
void storeRows(PrefillItem item, uint e) {
    vec2 total = rowTotals[e];
    [[unroll]] for (uint distance = 1; distance < 4; distance *= 2) {
        total += subgroupShuffleXor(total, distance);
    }
    const vec2 inverse = 1.0 / total;
    [[unroll]] for (uint second = 0; second < 2; second++) {
        const uint row = rowOf(e, second);
        if (row < item.rows * push.group) {
            const uint t = item.row + row / push.group;
            [[unroll]] for (uint c = 0; c < 2 * COLUMNS; c++) { // eight columns
                const uint i = second * 4 + c % 2 * 2;
                const vec2 v = vec2(sums[e * COLUMNS + c / 2][i], sums[e * COLUMNS + c / 2][i + 1]) * inverse[second];
                const uint chunk = headOf(row) * HEAD_DIM + c * 8;
                const uint pair = gl_SubgroupInvocationID % 4; // of the chunk's columns
                if (FLOATS) {
                    Uints2(push.outputs).at[(t * push.outStride + chunk) / 2 + pair] = floatBitsToUint(v);
                }
                if (HALF) {
                    const vec4 h = bounded(v.xyxy);
                    Uints(push.halves).at[chunkOf(t, chunk, push.halfPanels) * 4 + pair] = packPair(h.x, h.y);
                }
            }
        }
    }
}

#endif
