// The second half of a LoRA product of one row, shared by up to EXPAND_PARTS invocations.
//
// However many they are, the sum is the same to the bit: the products of every eighth r are a leaf, and the eight leaves l are always
// folded as ((l0 + l4) + (l2 + l6)) + ((l1 + l5) + (l3 + l7)). One of parts has the leaves that are its number modulo parts, and
// folds them the same way.
#ifndef EXPAND_GLSL
#define EXPAND_GLSL

#extension GL_EXT_control_flow_attributes : require

#include "lora.glsl"

const uint EXPAND_PARTS = 8; // most invocations on one row, and leaves of a sum

Eight plus8(Eight a, Eight b) { return Eight(a.lo + b.lo, a.hi + b.hi); }

// The i-th value to be folded when count of them are: 0, 4, 2, 6, 1, 5, 3, 7 for eight.
uint foldOrder(uint i, uint count) { return ((i & 1) << 2 | (i & 2) | i >> 2) * count / EXPAND_PARTS; }

// A sum of values that arrive in foldOrder: each that completes a pair is added to the one that waits for it.
struct Fold {
    Eight one, two, four; // waiting sums of so many values
    Eight sum;            // of all values, when their number is a power of two
};

void foldIn(inout Fold f, uint i, Eight v) {
    f.sum = v;
    if ((i & 1) == 0) {
        f.one = f.sum;
        return;
    }
    f.sum = plus8(f.one, f.sum);
    if ((i & 2) == 0) {
        f.two = f.sum;
        return;
    }
    f.sum = plus8(f.two, f.sum);
    if ((i & 4) == 0) {
        f.four = f.sum;
        return;
    }
    f.sum = plus8(f.four, f.sum);
}

// scale * sum B[r, columns] * hidden[r] over r = first, first + EXPAND_PARTS, …, at two runs of four columns. hidden is the address of the
// row's products, stride the elements between rows of B. Two rows of B are on their way together: their loads follow each
// other closely. No loop here is unrolled: a layer's kernels should fit the instruction cache together.
Eight leafAt(AdapterSite site, uint64_t hidden, uint stride, uint low, uint high, uint first) {
    Eight leaf = Eight(vec4(0.0), vec4(0.0));
    [[dont_unroll]] for (; first < site.rank; first += 2 * EXPAND_PARTS) {
        const uint second = min(first + EXPAND_PARTS, site.rank - 1);
        const float a = site.scale * Hidden(hidden).at[first];
        const float b = site.scale * Hidden(hidden).at[second];
        const vec4 lowA = load4(site.B, first * stride + low);
        const vec4 highA = load4(site.B, first * stride + high);
        const vec4 lowB = load4(site.B, second * stride + low);
        const vec4 highB = load4(site.B, second * stride + high);
        leaf.lo = fma(vec4(a), lowA, leaf.lo);
        leaf.hi = fma(vec4(a), highA, leaf.hi);
        if (first + EXPAND_PARTS < site.rank) {
            leaf.lo = fma(vec4(b), lowB, leaf.lo);
            leaf.hi = fma(vec4(b), highB, leaf.hi);
        }
    }
    return leaf;
}

// One of parts' share of scale * sum_r B[r, n] * hidden[r] at two runs of four columns; parts is a power of two.
Eight expandShare(AdapterSite site, uint64_t hidden, uint stride, uint low, uint high, uint part, uint parts) {
    Fold f;
    [[dont_unroll]] for (uint i = 0; i < EXPAND_PARTS / parts; i++) {
        foldIn(f, i, leafAt(site, hidden, stride, low, high, part + foldOrder(i, EXPAND_PARTS)));
    }
    return f.sum;
}

#endif
