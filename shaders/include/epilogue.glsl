// Projections that end their own outputs: LoRA's second product and then RoPE and the page cache, the residual sum, or
// SiLU, without a stage between. The kernel says which by ENDING, whether there are adapters by LORA, whether the outputs come whole,
// with their delta in them, by WHOLE, whether the result is left as fp32 rows by FLOATS and as halves by HALF, and HEAD_DIM.
//
// A unit is eight outputs that end together: four columns low and four columns high of the outputs as the matrix has
// them. RoPE pairs columns half a head apart and SiLU a gate with its up, so the kernels take the rows of W in the order
// in which units list them (columnOf), or one made of it where lanes end their own sums (blockOfRuns), and no matrix has to be permuted in
// memory.
#ifndef EPILOGUE_GLSL
#define EPILOGUE_GLSL

#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "ends.glsl"
#include "expand_all.glsl"
#include "panels.glsl"
#include "squares.glsl"

const uint END_NONE = 0;       // outputs are stored as they are
const uint END_ROPE_STORE = 1; // as rope_store does
const uint END_RESIDUAL = 2;   // as residual does, with sums of squares by SQUARES_UNIT columns, SQUARES_QUAD with HALF, or many rows' tiles
const uint END_SILU_MUL = 3;   // as silu_mul does

const uint NO_ROW = 0xfffffffeu; // the slot of a row that the step does not have

// What a kernel needs to end a projection, beyond its push constants.
struct Epilogue {
    uint64_t outputs;   // fp32 [t][outputStride]: outputs that wait for the shrink, and finished queries
    uint64_t arrivals;  // uint32 [tile], then one for the shrink's workgroups; zero between dispatches
    uint64_t slots;     // uint32 [t]: row of the adapter table, BASE_SLOT or NO_ROW
    uint64_t table;     // AdapterSite [slot][sitesPerSlot]
    uint64_t hidden;    // fp32 [t][hiddenStride]; where outputs are WHOLE and lanes hold FRAGMENTS (coop.glsl), TYPE, scaled
    uint64_t result;    // fp32 [t][resultStride]: the residual stream, or with FLOATS silu(gate) * up
    uint64_t squares;   // fp32 [t][unit]: sums of squares of the residual stream; with HALF by four units, or by a tile of many rows
    uint64_t positions; // uint32 [t]
    uint64_t lanes;     // uint32 [t]: row of the page table
    uint64_t pageTable; // uint32 [lane][maxPages]
    uint64_t pool;      // page p begins at pool + p * pageBytes
    uint64_t rope;      // fp32 [position][HEAD_DIM]: cosines, then sines, of each pair
    uint64_t halves;    // TYPE, in panels: with HALF, the result once more, times gamma
    uint64_t gamma;     // TYPE [width]: of the norm that follows the residual stream
    uint outputStride;
    uint resultStride;
    uint rows;     // t of the dispatch
    uint units;    // of a row
    uint width;    // columns of the result
    uint sitesPerSlot;
    uint firstSite; // table column of the first site
    uint hiddenStride;
    uint maxRank;
    uint maxPages;
    uint pageBytes;
    uint layerOffset; // bytes from a page's begin to the layer's keys
    uint heads;
    uint kvHeads;
    uint tiles;     // of outputs by rows, those of the same outputs neighbours
    uint tileUnits; // units of a tile's row
    uint tileRows;  // rows of a tile
    uint rowTiles;  // tiles of the same outputs
    uint halfPanels; // that the columns of the halves take
};

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Epilogues { Epilogue at[]; };

// The column, and row of W, of the n-th output in the order of units.
uint columnOf(uint n, uint outputs) {
    const uint four = n / 8 * 4 + n % 4;
    const bool high = (n & 4) != 0;
    if (ENDING == END_ROPE_STORE) {
        return n / HEAD_DIM * HEAD_DIM + four % (HEAD_DIM / 2) + (high ? HEAD_DIM / 2 : 0);
    }
    if (ENDING == END_SILU_MUL) {
        return four + (high ? outputs / 2 : 0);
    }
    return n;
}

// A part's share of a site's delta at two runs of four columns.
Eight siteShare(AdapterSite site, uint64_t hidden, uint stride, uint low, uint high, uint part, uint parts) {
    if (parts == 1) {
        return expandAll(site, hidden, stride, low, high);
    }
    return expandShare(site, hidden, stride, low, high, part, parts);
}

// Where the adapters have an output: the site, counted from the first, the column there, and the elements between rows of B.
struct SitePlace {
    uint site;
    uint column;
    uint stride;
};

SitePlace placeInSite(Epilogue e, uint column) {
    if (ENDING == END_RESIDUAL) {
        return SitePlace(0, column, e.units * 8);
    }
    if (ENDING == END_SILU_MUL) {
        const bool up = column >= e.outputStride / 2;
        return SitePlace(up ? 1 : 0, up ? column - e.outputStride / 2 : column, e.units * 4);
    }
    const uint head = column / HEAD_DIM;
    const uint kind = head < e.heads ? 0 : head < e.heads + e.kvHeads ? 1 : 2; // q, k, v
    const uint before = kind == 0 ? 0 : kind == 1 ? e.heads : e.heads + e.kvHeads;
    return SitePlace(kind, column - before * HEAD_DIM, (kind == 0 ? e.heads : e.kvHeads) * HEAD_DIM);
}

// This part's share of a unit's LoRA delta; the parts are neighbouring invocations of one subgroup.
Eight deltaShare(Epilogue e, uint t, uint slot, uint unit, uint part, uint parts) {
    const uint64_t hidden = e.hidden + 4ul * t * e.hiddenStride;
    const SitePlace low = placeInSite(e, columnOf(unit * 8, e.outputStride));
    const SitePlace high = placeInSite(e, columnOf(unit * 8 + 4, e.outputStride));
    const AdapterSite site = adapterSite(e.table, slot, e.sitesPerSlot, e.firstSite + low.site);
    if (ENDING == END_SILU_MUL) { // low and high are of different sites, so each takes its four columns twice
        const AdapterSite up = adapterSite(e.table, slot, e.sitesPerSlot, e.firstSite + 1);
        return Eight(siteShare(site, hidden, low.stride, low.column, low.column, part, parts).lo,
                     siteShare(up, hidden + 4ul * e.maxRank, high.stride, high.column, high.column, part, parts).lo);
    }
    return siteShare(site, hidden + 4ul * low.site * e.maxRank, low.stride, low.column, high.column, part, parts);
}

// Folds the shares of neighbours in the order of expand.glsl.
Eight foldShares(Eight share, uint parts) {
    for (uint distance = parts / 2; distance > 0; distance /= 2) {
        share.lo += subgroupShuffleXor(share.lo, distance);
        share.hi += subgroupShuffleXor(share.hi, distance);
    }
    return share;
}

// What a unit's end reads besides its outputs: the residual stream and what scales it, or where a head turns, how, and where it is stored.
struct Given {
    Eight v; // of a row of x; cosines and sines
    Eight gamma;
    uint position;
    uint64_t layer; // of keys and values
};

// What a unit of row t is given. Of one that is not to end it is anything: behind a condition every load would be waited for at once.
Given givenTo(Epilogue e, uint t, uint unit, bool ends) {
    Given g;
    t = ends ? t : 0;
    unit = ends ? unit : 0;
    if (ENDING == END_RESIDUAL) {
        g.v = floats8(e.result, t * e.resultStride + unit * 8);
        if (HALF) {
            g.gamma = load8(e.gamma, unit * 8);
        }
    }
    if (ENDING == END_ROPE_STORE) {
        const uint low = unit * 4 % (HEAD_DIM / 2);
        const uint position = Uints(e.positions).at[t];
        g.position = ends ? position : 0; // the first row may be one that the step does not have
        g.v.lo = floats4(e.rope, g.position * HEAD_DIM + low);
        g.v.hi = floats4(e.rope, g.position * HEAD_DIM + HEAD_DIM / 2 + low);
        if (unit * 8 / HEAD_DIM >= e.heads) {
            const uint lane = Uints(e.lanes).at[t];
            g.layer = layerOf(e.pageTable + 4ul * (ends ? lane : 0) * e.maxPages, g.position, e.pool, e.pageBytes, e.layerOffset);
        }
    }
    return g;
}

// Turns a unit of queries or keys, and stores it.
void endRopeStore(Epilogue e, uint t, uint unit, Eight v, Given g) {
    const uint head = unit * 8 / HEAD_DIM;
    const uint low = unit * 4 % (HEAD_DIM / 2);
    if (head < e.heads + e.kvHeads) {
        v = rotate(v, g.v.lo, g.v.hi);
    }
    if (head < e.heads) {
        const uint column = t * e.outputStride + head * HEAD_DIM + low;
        Floats4(e.outputs).at[column >> 2] = v.lo;
        Floats4(e.outputs).at[(column + HEAD_DIM / 2) >> 2] = v.hi;
        return;
    }
    const uint element = elementOf(head - e.heads, g.position, HEAD_DIM) + low; // values lie behind the keys
    store4(g.layer, element, v.lo);
    store4(g.layer, element + HEAD_DIM / 2, v.hi);
}

// Adds up the squares of four units of a row, which neighbours have, so many lanes apart; the first of them gets the sum.
float quadSquares(Epilogue e, uint unit, float square, uint apart) {
    const float second = subgroupShuffleXor(square, apart);
    square += unit + 1 < e.units ? second : 0.0;
    const float other = subgroupShuffleXor(square, 2 * apart);
    return square + (unit + 2 < e.units ? other : 0.0);
}

// Adds a unit to the residual stream and returns the sum of its squares.
float endResidual(Epilogue e, uint t, uint unit, Eight v, Given g) {
    const uint column = unit * 8;
    const uint at = (t * e.resultStride + column) >> 2;
    v = add8(g.v, v);
    v = Eight(clip(v.lo, column, e.width), clip(v.hi, column + 4, e.width));
    Floats4(e.result).at[at] = v.lo;
    Floats4(e.result).at[at + 1] = v.hi;
    if (HALF) {
        storeHalves8(e.halves, t, column, e.halfPanels, mul8(v, g.gamma));
    }
    return squares8(v);
}

// Leaves the squares of a unit, or with HALF of four, whose invocations call this together: inside or not, since where some are elsewhere
// shuffles take long.
void endSquares(Epilogue e, uint t, uint unit, float square, uint apart, bool inside) {
    if (HALF) {
        square = quadSquares(e, unit, square, apart);
        if (inside && unit % 4 == 0) {
            Floats(e.squares).at[t * ((e.units + 3) / 4) + unit / 4] = square;
        }
    } else if (inside) {
        Floats(e.squares).at[t * e.units + unit] = square;
    }
}

void endSiluMul(Epilogue e, uint t, uint unit, Eight outputs) {
    const vec4 v = clip(siluMul(outputs.lo, outputs.hi), unit * 4, e.width);
    if (FLOATS) {
        Floats4(e.result).at[(t * e.resultStride + unit * 4) >> 2] = v;
    }
    if (HALF) {
        storeHalves4(e.halves, t, unit * 4, e.halfPanels, v);
    }
}

// Ends a unit of row t. Its parts call this together with the same outputs; the first of them stores.
void endUnit(Epilogue e, uint t, uint slot, uint unit, Eight outputs, uint part, uint parts) {
    if (slot == NO_ROW) {
        return;
    }
    Given given; // loaded first, so that it is on its way while the products are added up
    if (part == 0) {
        given = givenTo(e, t, unit, true);
    }
    if (LORA && !WHOLE) {
        outputs = add8(outputs, foldShares(deltaShare(e, t, slot, unit, part, parts), parts));
    }
    if (part != 0) {
        return;
    }
    if (ENDING == END_ROPE_STORE) {
        endRopeStore(e, t, unit, outputs, given);
    } else if (ENDING == END_RESIDUAL) {
        endSquares(e, t, unit, endResidual(e, t, unit, outputs, given), parts, true);
    } else {
        endSiluMul(e, t, unit, outputs);
    }
}

#endif
