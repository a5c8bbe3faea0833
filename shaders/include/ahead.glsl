// What the end of a tile reads first, fetched before the products are summed and kept in shared memory behind them:
// otherwise each would cost the latency of memory when nothing is left to hide it.
#ifndef AHEAD_GLSL
#define AHEAD_GLSL

#include "epilogue.glsl"

const uint EPILOGUE_ADDRESSES = 14; // of an Epilogue
const uint EPILOGUE_PAIRS = 24;     // of words: its addresses, and the numbers behind them
const uint AHEAD_ROWS = 128; // most rows of a tile

shared uvec2 epiloguePairs[EPILOGUE_PAIRS];
shared uint rowSlots[AHEAD_ROWS];

// An invocation's share of both.
struct Ahead {
    uvec2 pair;
    uint slot;
};

// Starts the loads; rows are those of the tile, of the step there are count. The workgroup has at least as many
// invocations as each list.
Ahead fetchAhead(uint64_t epilogue, uint64_t slots, uint first, uint rows, uint count, uint thread) {
    Ahead a = Ahead(uvec2(0), NO_ROW);
    if (thread < EPILOGUE_PAIRS) {
        a.pair = Uints2(epilogue).at[thread];
    }
    if (thread < rows && first + thread < count) {
        a.slot = Uints(slots).at[first + thread];
    }
    return a;
}

// Puts them into shared memory, to be read behind the next barrier.
void keepAhead(Ahead a, uint rows, uint thread) {
    if (thread < EPILOGUE_PAIRS) {
        epiloguePairs[thread] = a.pair;
    }
    if (thread < rows) {
        rowSlots[thread] = a.slot;
    }
}

uint tileSlot(Epilogue e, uint row) { return rowSlots[row]; }

uint64_t addressAhead(uint i) { return packUint2x32(epiloguePairs[i]); }
uint numberAhead(uint i) { return epiloguePairs[EPILOGUE_ADDRESSES + i / 2][i % 2]; }

Epilogue epilogueAhead() {
    return Epilogue(addressAhead(0), addressAhead(1), addressAhead(2), addressAhead(3), addressAhead(4), addressAhead(5),
                    addressAhead(6), addressAhead(7), addressAhead(8), addressAhead(9), addressAhead(10), addressAhead(11),
                    addressAhead(12), addressAhead(13),
                    numberAhead(0), numberAhead(1), numberAhead(2), numberAhead(3), numberAhead(4), numberAhead(5),
                    numberAhead(6), numberAhead(7), numberAhead(8), numberAhead(9), numberAhead(10), numberAhead(11),
                    numberAhead(12), numberAhead(13), numberAhead(14), numberAhead(15), numberAhead(16), numberAhead(17), numberAhead(18));
}

#endif
