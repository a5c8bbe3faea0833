// The second half of LoRA products by cooperative matrices, where lanes hold them as FRAGMENTS of coop.glsl says: the delta of a block of
// 16 rows by 16 outputs is the sum, over the adapters of its rows, of the rows' scaled products, zeros in the rows of others, times B. The
// shrink leaves products scaled and in TYPE.
//
// A row adds up the products of its own adapter, in the order of their ranks, and zeros: its sum depends neither on whose rows are beside
// it nor on who adds up which adapters, as long as B is finite.
//
// Blocks lie in partial, 256 floats each, which the kernel has. Every four units of a tile are two blocks: of their low and their
// high columns where these are far apart, else of the first and the second two units.
#ifndef DELTA_COOP_GLSL
#define DELTA_COOP_GLSL

#extension GL_KHR_shader_subgroup_ballot : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "epilogue.glsl"

const uint QUAD_UNITS = 4; // that two blocks have

// What the shrink writes, four scaled products at a time.
layout(buffer_reference, std430, buffer_reference_align = 8) coherent buffer Hidden4 { uvec2 at[]; };

// A subgroup's share of a block: every parts-th adapter of its rows.
struct Delta {
    SitePlace place;
    AdapterSite mine; // of the block's row lane % 16
    uint slot;        // of that row
    uint left;        // rows whose adapters are to come, a bit each
    uint number;      // of adapters so far
    uint part;
    uint parts;
};

// A place in that share: at 16 ranks of an adapter, or past its rank.
struct Cursor {
    uint slot;
    uint rank;
    uint at;
    uint64_t B;
    uvec4 pairs; // of B there: two neighbouring outputs of the lane's four ranks
};

// Two, whose loads are on their way together: from beginDelta to addUpDelta they belong to one Delta. No array: a loop over them has a
// loop inside and may not be unrolled, and they would end up in memory.
Cursor one, two;

// Looks up the adapters of a block, whose outputs begin at column; slot is that of its row lane % 16. Neither this nor beginDelta reads
// what the shrink writes.
Delta deltaOf(Epilogue e, uint slot, uint column, uint part, uint parts, uint lane) {
    const SitePlace place = placeInSite(e, column);
    const AdapterSite mine = adapterSite(e.table, slot < NO_ROW ? slot : BASE_SLOT, e.sitesPerSlot, e.firstSite + place.site);
    return Delta(place, mine, slot, subgroupBallot(lane < 16 && mine.rank > 0).x, 0, part, parts);
}

// Moves a cursor that is past its adapter to the next one, if there is one, and starts to load B.
void goOn(inout Delta d, inout Cursor c, uint lane) {
    [[dont_unroll]] while (c.at >= c.rank && d.left != 0) {
        const uint from = findLSB(d.left);
        const uint slot = subgroupShuffle(d.slot, from);
        d.left &= ~subgroupBallot(d.slot == slot).x;
        if (d.number++ % d.parts == d.part) {
            c.slot = slot;
            c.rank = subgroupShuffle(d.mine.rank, from);
            c.B = packUint2x32(subgroupShuffle(unpackUint2x32(d.mine.B), from));
            c.at = 0;
        }
    }
    if (c.at < c.rank) {
        const uint pair = min(d.place.column / 2 + lane / 4, d.place.stride / 2 - 1);
        [[unroll]] for (uint i = 0; i < 4; i++) { // past the rank the last row again, for products that are zero
            c.pairs[i] = Fixed(c.B).at[min(c.at + lane % 4 * 4 + i, c.rank - 1) * (d.place.stride / 2) + pair];
        }
    }
}

void beginDelta(inout Delta d, uint lane) {
    one = two = Cursor(NO_ROW, 0, 0, 0ul, uvec4(0));
    goOn(d, one, lane);
    goOn(d, two, lane);
}

// The lane's share of the products at a cursor, of its two rows.
uvec4 productsAt(Cursor c, uint64_t low, uint64_t high, uvec2 slots) {
    uvec4 products = uvec4(0);
    if (c.at < c.rank && slots.x == c.slot) {
        products.xy = Hidden4(low + 2ul * c.at).at[0];
    }
    if (c.at < c.rank && slots.y == c.slot) {
        products.zw = Hidden4(high + 2ul * c.at).at[0];
    }
    return products;
}

// sums and the products times B at a cursor, which goes on.
SUMS addAt(inout Delta d, inout Cursor c, uvec4 products, SUMS sums, uint lane) {
    const uvec2 even = c.pairs.xz & 0xffffu | c.pairs.yw << 16;
    const uvec2 odd = c.pairs.xz >> 16 | c.pairs.yw & 0xffff0000u;
    c.at += 16;
    goOn(d, c, lane);
    return coopMatMulAdd(rowsOf(uvec4(products.xy, 0, 0), uvec4(products.zw, 0, 0), 0), outputsOf(uvec4(even, 0, 0), uvec4(odd, 0, 0), 0), sums);
}

// The delta of a block, whose rows begin at first, after beginDelta. Its column n < 8 is output 2n, its column n + 8 output 2n + 1.
SUMS addUpDelta(Delta d, Epilogue e, uint first, uint lane) {
    const uint64_t low = e.hidden + 2ul * ((first + lane / 4) * e.hiddenStride + d.place.site * e.maxRank + lane % 4 * 4);
    const uint64_t high = low + 16ul * e.hiddenStride;
    const uvec2 slots = uvec2(subgroupShuffle(d.slot, lane / 4), subgroupShuffle(d.slot, lane / 4 + 8));
    SUMS sums = SUMS(0.0);
    [[dont_unroll]] while (one.at < one.rank || two.at < two.rank) {
        const uvec4 a = productsAt(one, low, high, slots);
        const uvec4 b = productsAt(two, low, high, slots);
        sums = addAt(d, one, a, sums, lane);
        sums = addAt(d, two, b, sums, lane);
    }
    return sums;
}

// The first output of one of the two blocks of four units, in the order of W.
uint blockColumn(Epilogue e, uint unit, uint block) {
    const bool apart = ENDING != END_RESIDUAL;
    return columnOf(unit * 8 + (block == 0 ? 0 : apart ? 4 : 16), e.outputStride);
}

// Four columns of a row of a block, from a multiple of 4 on.
vec4 blockFour(uint block, uint row, uint column) {
    const uint at = block * 256 + row * 16 + column / 2;
    return vec4(partial[at], partial[at + 8], partial[at + 1], partial[at + 9]);
}

// A row of a unit out of the two blocks, from one on, that it is in; step is between them.
Eight deltaUnit(uint block, uint step, uint row, uint unit) {
    const uint i = unit % QUAD_UNITS;
    if (ENDING == END_RESIDUAL) {
        const uint mine = block + i / 2 * step;
        return Eight(blockFour(mine, row, i % 2 * 8), blockFour(mine, row, i % 2 * 8 + 4));
    }
    return Eight(blockFour(block, row, i * 4), blockFour(block + step, row, i * 4));
}

#endif
