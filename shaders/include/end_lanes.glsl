// The end of a tile of project_coop_many with RUNS: of a row a lane has two runs of eight neighbours among its subgroup's 64 outputs. Outputs end in
// the registers that they are summed in, and what is stored are whole chunks.
#ifndef END_LANES_GLSL
#define END_LANES_GLSL

#include "end_tile.glsl"

// A lane's outputs of a row, or what these are given. Of PAIRS the second run is what the first one's columns are paired with, and both are of
// the same two units; else each is a unit.
struct Runs {
    Eight one;
    Eight two;
};

vec4 fourSums(uint sum, uint first) { return vec4(sums[sum][first], sums[sum][first + 1], sums[sum][first + 2], sums[sum][first + 3]); }

// The sums of the lane's first or second row in a block of rows.
Runs runsOf(uint block, uint second) {
    const uint sum = block * EACH_N;
    const uint first = second * 4;
    return Runs(Eight(fourSums(sum, first), fourSums(sum + 1, first)), Eight(fourSums(sum + 2, first), fourSums(sum + 3, first)));
}

struct LaneRow {
    uint t;
    uint row;    // of the tile
    bool inside; // there is such a row
};

LaneRow laneRow(Corner c, uint block, uint second, uint lane) {
    const uint row = c.row + block * 16 + second * 8 + lane / 4;
    const uint t = c.tileT + row;
    return LaneRow(t, row, rowSlots[row] != NO_ROW);
}

const uint ONE_TO_TWO = PAIRS ? 0 : 4; // units from a lane's first run to its second

// Where the lane's rows stand in their sequences, one of each block of rows, and which pages these positions are in.
struct Standing {
    uvec4 positions;
    uvec4 pages;
};

// Looked up for all of the lane's rows together, and for queries, too: each would cost the latency of memory.
Standing standingOf(Epilogue e, Corner c, uint second, uint lane) {
    Standing s;
    uvec4 lanes;
    [[unroll]] for (uint i = 0; i < 4; i++) {
        const LaneRow r = laneRow(c, min(i, EACH_M - 1), second, lane);
        const uint position = Uints(e.positions).at[r.inside ? r.t : 0];
        const uint sequence = Uints(e.lanes).at[r.inside ? r.t : 0];
        s.positions[i] = r.inside ? position : 0; // the first row may be one that the step does not have
        lanes[i] = r.inside ? sequence : 0;
    }
    [[unroll]] for (uint i = 0; i < 4; i++) {
        s.pages[i] = pageOf(e.pageTable + 4ul * lanes[i] * e.maxPages, s.positions[i]);
    }
    return s;
}

// What a row reads that ends: the residual stream, or cosines and sines of a head that turns. Of a row that there is not it is anything: behind a
// condition every load would be waited for at once.
Runs givenToRow(Epilogue e, LaneRow r, uint unit, uint position) {
    Runs g;
    if (ENDING == END_RESIDUAL) {
        const uint row = (r.inside ? r.t : 0) * e.resultStride;
        g.one = floats8(e.result, row + min(unit, e.units - 1) * 8);
        g.two = floats8(e.result, row + min(unit + ONE_TO_TWO, e.units - 1) * 8);
    }
    if (ENDING == END_ROPE_STORE) {
        const uint low = unit * 4 % (HEAD_DIM / 2);
        g.one = floats8(e.rope, position * HEAD_DIM + low);
        g.two = floats8(e.rope, position * HEAD_DIM + HEAD_DIM / 2 + low);
    }
    return g;
}

// Turns eight pairs of columns of queries or keys, and stores them.
void endRopeRuns(Epilogue e, uint t, uint unit, Runs v, Runs g, uint position, uint page) {
    const uint head = unit * 8 / HEAD_DIM;
    const uint low = unit * 4 % (HEAD_DIM / 2);
    if (head < e.heads + e.kvHeads) {
        const Eight first = rotate(Eight(v.one.lo, v.two.lo), g.one.lo, g.two.lo);
        const Eight last = rotate(Eight(v.one.hi, v.two.hi), g.one.hi, g.two.hi);
        v = Runs(Eight(first.lo, last.lo), Eight(first.hi, last.hi));
    }
    if (head < e.heads) {
        const uint at = (t * e.outputStride + head * HEAD_DIM + low) >> 2;
        Floats4(e.outputs).at[at] = v.one.lo;
        Floats4(e.outputs).at[at + 1] = v.one.hi;
        Floats4(e.outputs).at[at + HEAD_DIM / 8] = v.two.lo;
        Floats4(e.outputs).at[at + HEAD_DIM / 8 + 1] = v.two.hi;
        return;
    }
    const uint64_t layer = layerIn(page, e.pool, e.pageBytes, e.layerOffset);
    const uint element = elementOf(head - e.heads, position, HEAD_DIM) + low; // values lie behind the keys
    store8(layer, element, v.one);
    store8(layer, element + HEAD_DIM / 2, v.two);
}

// Ends eight gates and ups.
void endSiluRuns(Epilogue e, uint t, uint unit, Runs v) {
    const uint column = unit * 4;
    const Eight result = Eight(clip(siluMul(v.one.lo, v.two.lo), column, e.width), clip(siluMul(v.one.hi, v.two.hi), column + 4, e.width));
    if (FLOATS) {
        const uint at = (t * e.resultStride + column) >> 2;
        Floats4(e.result).at[at] = result.lo;
        Floats4(e.result).at[at + 1] = result.hi; // units are in pairs
    }
    if (HALF) {
        storeHalves8(e.halves, t, column, e.halfPanels, result);
    }
}

// Ends a run of the residual stream and returns the sum of its squares.
float endResidualRun(Epilogue e, LaneRow r, uint unit, Eight outputs, Eight stream, Eight gamma) {
    if (!r.inside || unit >= e.units) {
        return 0.0;
    }
    return endResidual(e, r.t, unit, outputs, Given(stream, gamma, 0, 0ul));
}

// What a subgroup's lane keeps while it ends its rows.
struct LaneEnds {
    Corner corner;
    uint lane;
    uint unit;         // of its first run
    Runs gamma;        // of both
    Standing first;    // of its first row in each block of rows
    Standing second;   // and of its second one
    Runs givenToFirst; // in the block that is next
    Runs givenToSecond;
};

// Ends one of the lane's rows. All lanes call it together: squares of the residual stream are added up across them.
void endRow(Epilogue e, LaneEnds s, LaneRow r, Runs v, Runs given, uint position, uint page) {
    const uint unit = s.unit;
    if (ENDING == END_RESIDUAL) {
        const float one = endResidualRun(e, r, unit, v.one, given.one, s.gamma.one);
        const float two = endResidualRun(e, r, unit + ONE_TO_TWO, v.two, given.two, s.gamma.two);
        if (FINE) {
            endSquares(e, r.t, unit, one, 1, r.inside && unit < e.units);
            endSquares(e, r.t, unit + ONE_TO_TWO, two, 1, r.inside && unit + ONE_TO_TWO < e.units);
            return;
        }
        const float sum = quadSquares(e, unit, one, 1) + quadSquares(e, unit + ONE_TO_TWO, two, 1);
        if (s.lane % 4 == 0) {
            rowSquares[gl_SubgroupID / SUBGROUPS_M * TILE_T + r.row] = sum;
        }
        return;
    }
    if (!r.inside || unit >= e.units) {
        return;
    }
    if (ENDING == END_ROPE_STORE) {
        endRopeRuns(e, r.t, unit, v, given, position, page);
    } else {
        endSiluRuns(e, r.t, unit, v);
    }
}

// Starts to load what the lane's rows in a block of rows are given.
void beginRows(Epilogue e, inout LaneEnds s, uint block) {
    s.givenToFirst = givenToRow(e, laneRow(s.corner, block, 0, s.lane), s.unit, s.first.positions[block]);
    s.givenToSecond = givenToRow(e, laneRow(s.corner, block, 1, s.lane), s.unit, s.second.positions[block]);
}

// Ends a block of rows, while what the next one is given loads.
void endRows(Epilogue e, inout LaneEnds s, uint block) {
    const Runs first = s.givenToFirst;
    const Runs second = s.givenToSecond;
    beginRows(e, s, min(block + 1, EACH_M - 1));
    endRow(e, s, laneRow(s.corner, block, 0, s.lane), runsOf(block, 0), first, s.first.positions[block], s.first.pages[block]);
    endRow(e, s, laneRow(s.corner, block, 1, s.lane), runsOf(block, 1), second, s.second.positions[block], s.second.pages[block]);
}

// Ends the subgroup's outputs, at most four blocks of rows. No loop: what it indexes would lie in memory if it were not unrolled.
void endLanes(Epilogue e, Corner c, uint lane) {
    LaneEnds s;
    s.corner = c;
    s.lane = lane;
    s.unit = c.unit + lane % 4 * (PAIRS ? 2 : 1);
    if (ENDING == END_RESIDUAL && HALF) {
        s.gamma = Runs(load8(e.gamma, min(s.unit, e.units - 1) * 8), load8(e.gamma, min(s.unit + ONE_TO_TWO, e.units - 1) * 8));
    }
    if (ENDING == END_ROPE_STORE) {
        s.first = standingOf(e, c, 0, lane);
        s.second = standingOf(e, c, 1, lane);
    }
    beginRows(e, s, 0);
    endRows(e, s, 0);
    if (EACH_M > 1) {
        endRows(e, s, 1);
    }
    if (EACH_M > 2) {
        endRows(e, s, 2);
        endRows(e, s, 3);
    }
}

#endif
