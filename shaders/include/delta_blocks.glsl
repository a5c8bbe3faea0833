// The second half of LoRA products of many rows by cooperative matrices, where lanes hold them as FRAGMENTS of coop.glsl says: an adapter's
// part in a subgroup's sums is its rows' scaled products, zeros in the rows of others, times B. The shrink leaves products scaled and
// in TYPE.
//
// A row's sum depends neither on whose rows are beside it nor on their number, as long as B is finite: it adds zeros for those.
#ifndef DELTA_BLOCKS_GLSL
#define DELTA_BLOCKS_GLSL

#extension GL_KHR_shader_subgroup_ballot : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "epilogue.glsl"

// What the shrink writes, four scaled products.
layout(buffer_reference, std430, buffer_reference_align = 8) buffer Hidden4 { uvec2 at[]; };

// B at the lane's four ranks and at its two outputs of 16; past the adapter's last rank anything, for products that are zero.
OUTPUTS loadB(AdapterSite site, SitePlace place, uint firstRank, uint lane) {
    const uint low = min(place.column / 2 + lane / 8, place.stride / 2 - 1); // in pairs
    const uint high = min(place.column / 2 + 4 + lane / 8, place.stride / 2 - 1);
    uvec4 a = uvec4(0);
    uvec4 b = uvec4(0);
    if (firstRank < site.rank) {
        [[unroll]] for (uint i = 0; i < 4; i++) {
            const uint row = min(firstRank + lane % 4 * 4 + i, site.rank - 1) * (place.stride / 2);
            a[i] = Fixed(site.B).at[row + low];
            b[i] = Fixed(site.B).at[row + high];
        }
    }
    const uint odd = lane / 4 % 2 * 16; // the second output of a pair
    a = a >> odd & 0xffffu;
    b = b >> odd & 0xffffu;
    return outputsOf(uvec4(a.xz | a.yw << 16, 0, 0), uvec4(b.xz | b.yw << 16, 0, 0), 0);
}

// The products of 16 rows, the first of them row, at the lane's four ranks; mine has a bit for each of those that are the adapter's.
ROWS loadHidden(Epilogue e, AdapterSite site, SitePlace place, uint firstRank, uint row, uint mine, uint lane) {
    const uint64_t low = e.hidden + 2ul * ((row + lane / 4) * e.hiddenStride + place.site * e.maxRank + firstRank + lane % 4 * 4);
    uvec4 products = uvec4(0);
    if (firstRank < site.rank && (mine >> lane / 4 & 1) != 0) {
        products.xy = Hidden4(low).at[0];
    }
    if (firstRank < site.rank && (mine >> lane / 4 + 8 & 1) != 0) {
        products.zw = Hidden4(low + 16ul * e.hiddenStride).at[0];
    }
    return rowsOf(uvec4(products.xy, 0, 0), uvec4(products.zw, 0, 0), 0);
}

// What an adapter has for the j-th block of a row of blocks. firstOutput is the subgroup's first in the order of units.
SitePlace placeOf(Epilogue e, uint firstOutput, uint j) { return placeInSite(e, blockOutput(firstOutput, j, e.outputStride)); }

AdapterSite siteOf(Epilogue e, uint slot, uint firstOutput, uint j) {
    return adapterSite(e.table, slot, e.sitesPerSlot, e.firstSite + placeOf(e, firstOutput, j).site);
}

// Adds to the sums what the adapters of the subgroup's rows, up to 64, make of them, in up to four blocks of each. firstRow is the first of
// those rows, and inTile its place in the tile. No array and no loop over blocks: with loops inside it may not be unrolled, and the
// sums would end up in memory.
void addDeltas(Epilogue e, uint firstRow, uint inTile, uint firstOutput, uint lane) {
    const uvec2 slots = uvec2(rowSlots[inTile + lane], EACH_M > 2 ? rowSlots[inTile + 32 + lane] : NO_ROW);
    uvec2 left = uvec2(subgroupBallot(slots.x < NO_ROW && slots.x != BASE_SLOT).x, // rows whose adapters are to come, a bit each
                       subgroupBallot(slots.y < NO_ROW && slots.y != BASE_SLOT).x);
    const SitePlace p1 = placeOf(e, firstOutput, 0);
    const SitePlace p2 = placeOf(e, firstOutput, 1);
    const SitePlace p3 = placeOf(e, firstOutput, EACH_N - 2);
    const SitePlace p4 = placeOf(e, firstOutput, EACH_N - 1);
    [[dont_unroll]] while ((left.x | left.y) != 0) {
        const uint slot = left.x != 0 ? subgroupShuffle(slots.x, findLSB(left.x)) : subgroupShuffle(slots.y, findLSB(left.y));
        const uvec2 mine = uvec2(subgroupBallot(slots.x == slot).x, subgroupBallot(slots.y == slot).x);
        left &= ~mine;
        const AdapterSite one = siteOf(e, slot, firstOutput, 0); // all on their way together
        const AdapterSite two = siteOf(e, slot, firstOutput, 1);
        const AdapterSite three = siteOf(e, slot, firstOutput, EACH_N - 2);
        const AdapterSite four = siteOf(e, slot, firstOutput, EACH_N - 1);
        [[dont_unroll]] for (uint rank = 0; rank < max(max(one.rank, two.rank), max(three.rank, four.rank)); rank += 16) {
            const OUTPUTS b1 = loadB(one, p1, rank, lane);
            const OUTPUTS b2 = loadB(two, p2, rank, lane);
            const OUTPUTS b3 = loadB(three, p3, rank, lane);
            const OUTPUTS b4 = loadB(four, p4, rank, lane);
            [[unroll]] for (uint i = 0; i < EACH_M; i++) {
                const uint rows = mine[i / 2] >> i % 2 * 16;
                const uint first = i * EACH_N;
                sums[first] = coopMatMulAdd(loadHidden(e, one, p1, rank, firstRow + i * 16, rows, lane), b1, sums[first]);
                sums[first + 1] = coopMatMulAdd(loadHidden(e, two, p2, rank, firstRow + i * 16, rows, lane), b2, sums[first + 1]);
                if (EACH_N > 2) {
                    sums[first + 2] = coopMatMulAdd(loadHidden(e, three, p3, rank, firstRow + i * 16, rows, lane), b3, sums[first + 2]);
                    sums[first + 3] = coopMatMulAdd(loadHidden(e, four, p4, rank, firstRow + i * 16, rows, lane), b4, sums[first + 3]);
                }
            }
        }
    }
}

#endif
