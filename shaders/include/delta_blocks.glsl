// The second half of LoRA products of many rows by cooperative matrices: the product goes on by columns that are ranks. An item is an
// adapter of the tile's rows in one of the sites that the tile has outputs of: 16 columns of x are the rows' scaled products, zeros in
// the rows of others, 16 of W are rows of B, zeros in the outputs of other sites. Two items are a slice, and slices pass through shared memory:
// who multiplies knows nothing of adapters, and no path parts or meets around the sums.
//
// A row's sum depends neither on whose rows are beside it nor on their number or order, as long as B is finite: it adds zeros for those.
#ifndef DELTA_BLOCKS_GLSL
#define DELTA_BLOCKS_GLSL

#include "epilogue.glsl"

// Sites that a tile may have outputs of, one after another. Heads are of whole pairs of blocks.
const uint DELTA_SITES = ENDING == END_RESIDUAL ? 1
                       : ENDING == END_SILU_MUL ? 2
                       : HEAD_DIM % (BLOCKS_N * 16) == 0 ? 1
                       : HEAD_DIM * 2 >= BLOCKS_N * 16 ? 2
                       : 3;
const uint LAST_SITE = ENDING == END_RESIDUAL ? 0 : ENDING == END_SILU_MUL ? 1 : 2; // of the projection
const bool TURNS = ENDING == END_SILU_MUL; // sites take turns, block by block, with RUNS by two: a slice is both items of an adapter, whose rows of B share lines
const uint DELTA_RANKS = 16;                          // of an item
const uint B_CHUNKS = BLOCKS_N * 2;                   // of the tile's outputs in a row of B
const uint B_ITEM = DELTA_RANKS * B_CHUNKS / THREADS; // loads of an invocation for an item
const uint B_LOADS = TURNS ? B_ITEM : 2 * B_ITEM;     // and for a slice
const uint HIDDEN_LOADS = TILE_T * 4 / THREADS;
const uint ROWS_EACH = (TILE_T + THREADS - 1) / THREADS;

shared uint itemRows[LORA ? TILE_T : 1]; // the first row of each adapter of the tile
shared uint adapters;                    // of the tile

uint ranksLeft[ROWS_EACH]; // 1 where the row is the first of an adapter that has more ranks
AdapterSite sitesAhead[2]; // of the items of the slice behind the one on its way
uvec4 hiddenPieces[HIDDEN_LOADS];
uvec4 bPieces[B_LOADS];
uint somePieces; // a bit for each of both that is not zeros

// The slot and the site of an item; BASE_SLOT behind the last one, and in sites that the projection does not have.
uvec2 itemAt(uint item, uint firstSite) {
    const uint site = firstSite + item % DELTA_SITES;
    const bool some = item < adapters * DELTA_SITES && site <= LAST_SITE;
    return uvec2(some ? rowSlots[itemRows[item / DELTA_SITES]] : BASE_SLOT, site);
}

// The most ranks that a slot's adapter has in the tile's sites.
uint ranksOf(Epilogue e, uint slot, uint firstSite) {
    uint ranks = 0;
    [[unroll]] for (uint s = 0; s < DELTA_SITES; s++) {
        ranks = max(ranks, adapterSite(e.table, slot, e.sitesPerSlot, e.firstSite + min(firstSite + s, LAST_SITE)).rank);
    }
    return ranks;
}

// Finds out which of the invocation's rows is the first of its adapter.
void findAdapters(uint thread) {
    [[unroll]] for (uint i = 0; i < ROWS_EACH; i++) {
        const uint row = i * THREADS + thread;
        const uint slot = row < TILE_T ? rowSlots[row] : NO_ROW;
        bool first = slot < NO_ROW && slot != BASE_SLOT;
        for (uint other = row; first && other > 0; other--) {
            first = rowSlots[other - 1] != slot;
        }
        ranksLeft[i] = first ? 1 : 0;
    }
}

// Lists the adapters that have ranks left.
void listAdapters(uint thread) {
    if (thread == 0) {
        adapters = 0;
    }
    barrier();
    [[unroll]] for (uint i = 0; i < ROWS_EACH; i++) {
        if (ranksLeft[i] > 0) {
            itemRows[atomicAdd(adapters, 1)] = i * THREADS + thread;
        }
    }
    barrier();
}

// Starts to look up a slice's sites. Here and below, what there is not is loaded from anywhere: loads under a condition would be waited
// for where the paths meet.
void findSites(Epilogue e, uint slice, uint firstSite) {
    [[unroll]] for (uint i = 0; i < 2; i++) {
        const uvec2 item = itemAt(slice * 2 + i, firstSite);
        sitesAhead[i] = AdapterSites(e.table).at[item.x == BASE_SLOT ? 0 : item.x * e.sitesPerSlot + e.firstSite + item.y];
    }
}

// Eight scaled products of a row, from the rank-th of a site on.
uvec4 hiddenAt(Epilogue e, uint row, uint site, uint rank, AdapterSite adapter, bool some) {
    const uint at = some ? row * e.hiddenStride + site * e.maxRank + rank : 0;
    if (FRAGMENTS) { // as shrink_coop leaves them
        return Uints4(e.hidden).at[at / 8];
    }
    const Eight v = floats8(e.hidden, at);
    const vec4 lo = bounded(mix(vec4(0.0), adapter.scale * v.lo, lessThan(rank + uvec4(0, 1, 2, 3), uvec4(adapter.rank))));
    const vec4 hi = bounded(mix(vec4(0.0), adapter.scale * v.hi, lessThan(rank + uvec4(4, 5, 6, 7), uvec4(adapter.rank))));
    return uvec4(packElements(lo.xy), packElements(lo.zw), packElements(hi.xy), packElements(hi.zw));
}

// Starts to load a slice, whose sites were looked up. place is where the invocation's chunk of outputs lies.
void fetchSlice(Epilogue e, uint slice, uint rank, uint tileT, uint firstSite, SitePlace place, uint thread) {
    somePieces = 0;
    [[unroll]] for (uint i = 0; i < B_LOADS; i++) {
        AdapterSite site = sitesAhead[i / B_ITEM];
        uint number = i / B_ITEM;
        if (TURNS && place.site == 1) {
            site = sitesAhead[1];
            number = 1;
        }
        const uvec2 item = itemAt(slice * 2 + number, firstSite);
        const uint row = rank + (i % B_ITEM * THREADS + thread) / B_CHUNKS;
        const bool some = item.x != BASE_SLOT && item.y == place.site && row < site.rank;
        somePieces |= some ? 1u << i : 0;
        bPieces[i] = Fixed4(some ? site.B : e.table).at[some ? (row * place.stride + place.column) / 8 : 0];
    }
    const uint quarter = thread % 4; // of the slice's ranks, which the invocation has the products at
    const uvec2 item = itemAt(slice * 2 + quarter / 2, firstSite);
    AdapterSite site = sitesAhead[0];
    if (quarter >= 2) {
        site = sitesAhead[1];
    }
    const uint from = rank + quarter % 2 * 8;
    [[unroll]] for (uint i = 0; i < HIDDEN_LOADS; i++) {
        const uint row = (i * THREADS + thread) / 4;
        const bool some = item.x != BASE_SLOT && rowSlots[row] == item.x && from < site.rank;
        somePieces |= some ? 1u << B_LOADS + i : 0;
        hiddenPieces[i] = hiddenAt(e, tileT + row, item.y, from, site, some);
    }
}

// Puts it into shared memory.
void keepSlice(uint at, uint thread) {
    [[unroll]] for (uint i = 0; i < HIDDEN_LOADS; i++) {
        pool[at + i * THREADS + thread] = (somePieces >> B_LOADS + i & 1) != 0 ? hiddenPieces[i] : uvec4(0);
    }
    [[unroll]] for (uint i = 0; i < B_LOADS; i++) {
        const uint chunk = i * THREADS + thread;
        const uvec4 piece = (somePieces >> i & 1) != 0 ? bPieces[i] : uvec4(0);
        const uint row = at + CHUNKS_M + chunk / B_CHUNKS * B_ROW;
        if (RUNS) { // a chunk is a lane's run, of which each pair is in another of the 32 outputs' four chunks
            [[unroll]] for (uint word = 0; word < 4; word++) {
                pool[row + chunk % B_CHUNKS / 4 * 4 + word][chunk % 4] = piece[word];
            }
        } else {
            pool[row + chunk % B_CHUNKS] = piece;
        }
    }
}

// The block of a subgroup that is the k-th of those of an item's site.
uint siteBlock(uint item, uint k) {
    return !TURNS ? k : RUNS ? k / 2 * 4 + item * 2 + k % 2 : k * 2 + item;
}

void multiplySlice(uint at, uint blockM, uint blockN) {
    [[unroll]] for (uint step = 0; step < STEPS; step++) {
        const uint item = step * SIZE_K / DELTA_RANKS;
        const uint rank = TURNS ? step * SIZE_K % DELTA_RANKS : step * SIZE_K;
        ROWS rows[EACH_M * ACROSS_M];
        [[unroll]] for (uint i = 0; i < EACH_M * ACROSS_M; i++) {
            coopMatLoad(rows[i], pool, at + chunkOf(blockM * 16 + i * SIZE_M, step * SIZE_K, 1), 4, gl_CooperativeMatrixLayoutRowMajor);
        }
        [[unroll]] for (uint k = 0; k < EACH_N * ACROSS_N / (TURNS ? 2 : 1); k++) {
            const uint j = siteBlock(item, k / ACROSS_N) * ACROSS_N + k % ACROSS_N;
            OUTPUTS outputs;
            coopMatLoad(outputs, pool, at + CHUNKS_M + rank * B_ROW + (blockN * 16 + j * SIZE_N) / 8, B_ROW,
                        gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (uint i = 0; i < EACH_M * ACROSS_M; i++) {
                const uint block = i / ACROSS_M * EACH_N + j / ACROSS_N;
                const uint sum = (block * ACROSS_M + i % ACROSS_M) * ACROSS_N + j % ACROSS_N;
                sums[sum] = coopMatMulAdd(rows[i], outputs, sums[sum]);
            }
        }
    }
}

// Adds to the sums what the adapters of the tile's rows make of them. The tile's corner is at so many blocks.
void addDeltas(Epilogue e, uint firstT, uint firstN, uint blockM, uint blockN, uint thread) {
    const uint firstSite = placeInSite(e, blockOutput(firstN * 16, 0, e.outputStride)).site;
    const uint chunk = thread % B_CHUNKS;
    const uint block = RUNS ? blockOfRuns(chunk / 4, chunk / 2 % 2) : chunk / 2;
    SitePlace place = placeInSite(e, blockOutput(firstN * 16, block, e.outputStride));
    place.column = min(place.column + chunk % 2 * 8, place.stride - 8);
    findAdapters(thread);
    [[dont_unroll]] for (uint rank = 0; rank < e.maxRank; rank += DELTA_RANKS) {
        listAdapters(thread);
        const uint slices = (adapters * DELTA_SITES + 1) / 2;
        if (slices == 0) {
            return;
        }
        findSites(e, 0, firstSite);
        fetchSlice(e, 0, rank, firstT * 16, firstSite, place, thread);
        findSites(e, 1, firstSite);
        keepSlice(0, thread);
        fetchSlice(e, 1, rank, firstT * 16, firstSite, place, thread);
        findSites(e, 2, firstSite);
        uint ranks[ROWS_EACH]; // on their way while slices are multiplied
        [[unroll]] for (uint i = 0; i < ROWS_EACH; i++) {
            ranks[i] = ranksOf(e, ranksLeft[i] > 0 ? rowSlots[i * THREADS + thread] : 0, firstSite);
        }
        barrier();
        uint at = 0;
        uint slice = 0;
        do {
            keepSlice(DELTA_SLICE - at, thread);
            fetchSlice(e, slice + 2, rank, firstT * 16, firstSite, place, thread);
            findSites(e, slice + 3, firstSite);
            multiplySlice(at, blockM, blockN);
            barrier();
            at = DELTA_SLICE - at;
        } while (++slice < slices);
        [[unroll]] for (uint i = 0; i < ROWS_EACH; i++) {
            ranksLeft[i] = ranksLeft[i] > 0 && ranks[i] > rank + DELTA_RANKS ? 1 : 0;
        }
    }
}

#endif
