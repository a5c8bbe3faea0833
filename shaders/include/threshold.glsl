// What sample.comp keeps of a row: the search for the smallest logit that top-k and top-p let pass.
#ifndef THRESHOLD_GLSL
#define THRESHOLD_GLSL

// The keys low < key <= high hold the smallest kept one. counts are of keys above the two ends.
struct Bracket {
    uint low;
    uint high;
    uint aboveLow;
    uint aboveHigh;
    uint mineAboveLow; // of this thread
    uint mineAboveHigh;
    float sumAboveHigh;
};

void addAbove(inout Tally tally, uint key, uvec4 lo, uvec4 hi) {
    float e = likelihood(valueOf(key));
    bvec4 aboveLo = greaterThan(uvec4(key), lo);
    bvec4 aboveHi = greaterThan(uvec4(key), hi);
    tally.countLo += uvec4(aboveLo);
    tally.countHi += uvec4(aboveHi);
    tally.sumLo += mix(vec4(0.0), vec4(e), aboveLo);
    tally.sumHi += mix(vec4(0.0), vec4(e), aboveHi);
}

// Moves the bracket's ends to the two neighbouring places, of eight ascending ones, between which the answer changes.
void narrow(inout Bracket b, uvec4 lo, uvec4 hi, Tally mine, Tally all, float sumAbove, uint topK, float limit) {
    for (int i = 7; i >= 0; i--) {
        uint place = i < 4 ? lo[i] : hi[i - 4];
        uint count = i < 4 ? all.countLo[i] : all.countHi[i - 4];
        float sum = sumAbove + (i < 4 ? all.sumLo[i] : all.sumHi[i - 4]);
        uint own = i < 4 ? mine.countLo[i] : mine.countHi[i - 4];
        if (place >= b.high || place <= b.low) {
            continue;
        }
        if (count < topK && sum <= limit) {
            b.high = place;
            b.aboveHigh = count;
            b.mineAboveHigh = own;
            b.sumAboveHigh = sum;
        } else {
            b.low = place;
            b.aboveLow = count;
            b.mineAboveLow = own;
            return;
        }
    }
}

// Eight places that cut a bracket into nine.
void cut(Bracket b, out uvec4 lo, out uvec4 hi) {
    uint range = b.high - b.low;
    uint step_ = max(range / 9, 1);
    lo = b.low + step_ * uvec4(1, 2, 3, 4);
    hi = b.low + step_ * uvec4(5, 6, 7, 8);
}

// The first places lie where probabilities do: at these distances from the largest logit.
void cutByProbability(out uvec4 lo, out uvec4 hi) {
    vec4 far = top - vec4(24.0, 16.0, 11.0, 8.0) / scale;
    vec4 near = top - vec4(6.0, 4.0, 2.5, 1.0) / scale;
    [[unroll]] for (uint i = 0; i < 4; i++) {
        lo[i] = keyOf(far[i]);
        hi[i] = keyOf(near[i]);
    }
}

// Narrows over the whole row until the candidates fit into shared memory.
void narrowOverRow(inout Bracket b, uint topK, float limit) {
    bool first = true;
    while (b.aboveLow - b.aboveHigh > CANDIDATES && b.high - b.low > 1) {
        uvec4 lo, hi;
        if (first) {
            cutByProbability(lo, hi);
        } else {
            cut(b, lo, hi);
        }
        first = false;
        const float lowest = valueOf(max(lo[0], SMALLEST_KEY));
        Tally mine = NOTHING;
        for (uint start = thread; start * 4 < push.vocab; start += DEPTH * THREADS) {
            fetch(start);
            [[unroll]] for (uint i = 0; i < 4 * DEPTH; i++) {
                float v = fetched[i / 4][i % 4];
                if (v >= lowest) {
                    addAbove(mine, keyOf(v), lo, hi);
                }
            }
        }
        narrow(b, lo, hi, mine, tallyOf(mine), 0.0, topK, limit);
    }
}

// Copies the keys within the bracket to shared memory, in an order that does not depend on timing.
void collect(Bracket b) {
    uint at = countBefore(b.mineAboveLow - b.mineAboveHigh);
    const float lowest = valueOf(b.low + 1 > SMALLEST_KEY ? b.low + 1 : SMALLEST_KEY);
    const float highest = valueOf(b.high);
    for (uint start = thread; start * 4 < push.vocab; start += DEPTH * THREADS) {
        fetch(start);
        [[unroll]] for (uint i = 0; i < 4 * DEPTH; i++) {
            float v = fetched[i / 4][i % 4];
            if (v >= lowest && v <= highest) {
                candidates[at] = keyOf(v);
                at++;
            }
        }
    }
}

// Narrows over the candidates until they cannot be told apart.
void narrowOverCandidates(inout Bracket b, uint topK, float limit) {
    const uint count = b.aboveLow - b.aboveHigh;
    const uint above = b.aboveHigh;
    const float sumAbove = b.sumAboveHigh;
    uint keys[MINE];
    barrier();
    [[unroll]] for (uint i = 0; i < MINE; i++) {
        uint at = i * THREADS + thread;
        keys[i] = at < count ? candidates[at] : 0;
    }
    while (b.aboveLow - b.aboveHigh > 1 && b.high - b.low > 1) {
        uvec4 lo, hi;
        cut(b, lo, hi);
        Tally mine = NOTHING;
        [[unroll]] for (uint i = 0; i < MINE; i++) {
            if (keys[i] > lo[0]) {
                addAbove(mine, keys[i], lo, hi);
            }
        }
        Tally all = tallyOf(mine);
        all.countLo += above;
        all.countHi += above;
        narrow(b, lo, hi, mine, all, sumAbove, topK, limit);
    }
}

// The smallest logit that top-k and top-p keep.
float threshold(Survey s, SampleRow row) {
    const bool limitK = row.topK > 0 && row.topK < s.all;
    if (!limitK && row.topP >= 1.0) {
        return -INFINITY;
    }
    const uint topK = limitK ? row.topK : NOBODY;
    const float limit = row.topP >= 1.0 ? INFINITY : row.topP * s.total;
    Bracket b = Bracket(SMALLEST_KEY - 1, s.best.key, s.all, 0, s.finite, 0, 0.0);
    narrowOverRow(b, topK, limit);
    if (b.aboveLow - b.aboveHigh > 1 && b.high - b.low > 1) {
        collect(b);
        narrowOverCandidates(b, topK, limit);
    }
    return valueOf(b.low + 1);
}

#endif
