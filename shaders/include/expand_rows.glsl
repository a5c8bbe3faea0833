// The second half of a LoRA product for four rows of a tile at once, a quad, for kernels that are a stage of their own: what an
// invocation loads of B it multiplies with all of them. A workgroup has a quad, and gl_WorkGroupID.z is which of its tile's: of small workgroups
// more wait for memory at once.
//
// The kernel says by APART whether an invocation's eight columns are two runs of four or one of eight, and by SLICES in how many parts, a
// site's columns apart, the shrink left the products.
//
// Four neighbouring invocations, the parts, have the same columns of the quad; each adds up every fourth r, in ascending order. Then
// they are folded as ((p0 + p2) + (p1 + p3)), by which each part ends with the sum of one row. That is one order for every row, though not
// that of expand.glsl.
#ifndef EXPAND_ROWS_GLSL
#define EXPAND_ROWS_GLSL

#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "lora.glsl"

const uint EXPAND_THREADS = 128;       // invocations in a workgroup
const uint QUAD_ROWS = 4;              // rows that an invocation adds up, and parts
const uint QUAD_BATCH = 4 * QUAD_ROWS; // rows of B on their way, four for each part
const uint STAGED = EXPAND_THREADS;    // products of a row in shared memory together, a multiple of QUAD_BATCH

// scale * hidden[r] of the quad's rows, zero from the rank on.
shared vec4 stagedHidden[STAGED];

// The workgroup's quad of a tile, itself a tile, which may have no rows.
RowTile quadOf(RowTile tile) {
    const uint first = min(gl_WorkGroupID.z * QUAD_ROWS, tile.count);
    return RowTile(tile.first + first, min(tile.count - first, QUAD_ROWS), tile.slot, 0);
}

// Where an invocation stands whose lanes, up to EXPAND_THREADS / QUAD_ROWS, cover the columns of a row.
struct Place {
    uint row;  // of the quad, which it ends; from the quad's count on there is none to end, and what is added up is dropped
    uint lane;
};

Place placeOf(uint lanes) {
    const uint thread = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    return Place(thread / QUAD_ROWS / lanes * QUAD_ROWS + thread % QUAD_ROWS, thread / QUAD_ROWS % lanes);
}

// Sums of a quad's rows. By names: what is no array, no compiler puts into memory.
struct Quad {
    Eight a, b, c, d;
};

void addTo(inout Eight sum, float hidden, Eight b) {
    sum.lo = fma(vec4(hidden), b.lo, sum.lo);
    sum.hi = fma(vec4(hidden), b.hi, sum.hi);
}

void addRows(inout Quad sums, vec4 hidden, Raw8 raw) {
    const Eight b = decode8(raw);
    addTo(sums.a, hidden.x, b);
    addTo(sums.b, hidden.y, b);
    addTo(sums.c, hidden.z, b);
    addTo(sums.d, hidden.w, b);
}

// An invocation's columns of a row of B; past the end the last row again: its products are with zero.
Raw8 columnsOfB(AdapterSite site, uint r, uint stride, uint low, uint high) {
    const uint row = min(r, site.rank - 1) * stride;
    if (!APART) {
        return loadRaw8(site.B, row + low);
    }
    Raw8 raw;
    if (TYPE == 0) {
        raw.a = Uints4(site.B).at[(row + low) >> 2];
        raw.b = Uints4(site.B).at[(row + high) >> 2];
    } else {
        raw.a = uvec4(Uints2(site.B).at[(row + low) >> 2], Uints2(site.B).at[(row + high) >> 2]);
        raw.b = uvec4(0);
    }
    return raw;
}

// The r-th of the quad's rows' products; rows past the quad's are its last again.
vec4 productsOf(RowTile quad, uint64_t hidden, uint hiddenStride, uint r) {
    const uint last = quad.count - 1;
    const uint at = quad.first * hiddenStride + r;
    return vec4(Floats(hidden).at[at], Floats(hidden).at[at + min(1, last) * hiddenStride],
                Floats(hidden).at[at + min(2, last) * hiddenStride], Floats(hidden).at[at + min(3, last) * hiddenStride]);
}

// Brings products from first on into shared memory. Those past the rank are zero: what lies there is not read.
void stageHidden(AdapterSite site, RowTile quad, uint64_t hidden, uint hiddenStride, uint maxRank, uint first) {
    const uint r = first + gl_LocalInvocationIndex;
    if (r < site.rank + QUAD_BATCH) {
        const uint inside = min(r, site.rank - 1);
        vec4 values = productsOf(quad, hidden, hiddenStride, inside);
        [[unroll]] for (uint slice = 1; slice < SLICES; slice++) {
            values += productsOf(quad, hidden, hiddenStride, slice * maxRank + inside);
        }
        stagedHidden[gl_LocalInvocationIndex] = mix(vec4(0.0), site.scale * values, bvec4(r < site.rank));
    }
}

vec4 plusOther(vec4 mine, vec4 other, uint distance) { return mine + subgroupShuffleXor(other, distance); }

// Folds two rows of two parts: who has kept the row adds what the other has of it.
Eight foldRows(Eight one, Eight two, bool second, uint distance) {
    const bvec4 choice = bvec4(second);
    return Eight(plusOther(mix(one.lo, two.lo, choice), mix(two.lo, one.lo, choice), distance),
                 plusOther(mix(one.hi, two.hi, choice), mix(two.hi, one.hi, choice), distance));
}

// An invocation's columns of a batch of rows of B: every QUAD_ROWS-th from r on.
struct Batch {
    Raw8 a, b, c, d;
};

Batch batchOfB(AdapterSite site, uint r, uint stride, uint low, uint high) {
    return Batch(columnsOfB(site, r, stride, low, high), columnsOfB(site, r + QUAD_ROWS, stride, low, high),
                 columnsOfB(site, r + 2 * QUAD_ROWS, stride, low, high), columnsOfB(site, r + 3 * QUAD_ROWS, stride, low, high));
}

// scale * sum_r B[r, columns] * hidden[row, r] of the invocation's row, at its columns from low and, when APART, from high on. hidden is the
// address of row 0's products, hiddenStride the elements between rows of them, maxRank those between their slices, stride those between rows of
// B; the columns are inside the matrix or not. The whole workgroup calls it.
Eight expandRows(AdapterSite site, RowTile quad, Place place, uint64_t hidden, uint hiddenStride, uint maxRank, uint stride, uint low,
                 uint high, bool inside) {
    const uint part = place.row % QUAD_ROWS;
    low = inside ? low : 0; // who has no columns adds up as others do, for nobody: under a condition loads would be waited for
    high = inside ? high : 0;
    const Eight zero = Eight(vec4(0.0), vec4(0.0));
    if (site.rank == 0) {
        return zero;
    }
    Quad sums = Quad(zero, zero, zero, zero);
    Batch next = batchOfB(site, part, stride, low, high); // on its way before the products are there
    [[dont_unroll]] for (uint first = 0; first < site.rank; first += QUAD_BATCH) {
        if (first % STAGED == 0) {
            barrier(); // earlier products may still be read
            stageHidden(site, quad, hidden, hiddenStride, maxRank, first);
            barrier();
        }
        const Batch batch = next;
        next = batchOfB(site, first + QUAD_BATCH + part, stride, low, high);
        const uint at = (first + part) % STAGED;
        addRows(sums, stagedHidden[at], batch.a);
        addRows(sums, stagedHidden[at + QUAD_ROWS], batch.b);
        addRows(sums, stagedHidden[at + 2 * QUAD_ROWS], batch.c);
        addRows(sums, stagedHidden[at + 3 * QUAD_ROWS], batch.d);
    }
    const bool second = (part & 2) != 0;
    return foldRows(foldRows(sums.a, sums.c, second, 2), foldRows(sums.b, sums.d, second, 2), (part & 1) != 0, 1);
}

#endif
