// Reductions over the workgroup of sample.comp. Each begins with a barrier, so that they can follow one another.
#ifndef TALLY_GLSL
#define TALLY_GLSL

struct Best {
    uint key;
    uint index;
};

Best better(Best a, Best b) {
    bool second = b.key > a.key || (b.key == a.key && b.index < a.index);
    return second ? b : a;
}

// The largest key, of the lowest index.
Best bestOf(Best mine) {
    Best best;
    best.key = subgroupMax(mine.key);
    best.index = subgroupMin(mine.key == best.key ? mine.index : NOBODY);
    barrier();
    if (subgroupElect()) {
        words[gl_SubgroupID].xy = uvec2(best.key, best.index);
    }
    barrier();
    best = Best(words[0].x, words[0].y);
    for (uint s = 1; s < gl_NumSubgroups; s++) {
        best = better(best, Best(words[s].x, words[s].y));
    }
    return best;
}

// Sums, and how many there are, above eight places.
struct Tally {
    uvec4 countLo;
    uvec4 countHi;
    vec4 sumLo;
    vec4 sumHi;
};

const Tally NOTHING = Tally(uvec4(0), uvec4(0), vec4(0.0), vec4(0.0));

Tally tallyOf(Tally mine) {
    mine.countLo = subgroupAdd(mine.countLo);
    mine.countHi = subgroupAdd(mine.countHi);
    mine.sumLo = subgroupAdd(mine.sumLo);
    mine.sumHi = subgroupAdd(mine.sumHi);
    barrier();
    if (subgroupElect()) {
        words[gl_SubgroupID * 4] = mine.countLo;
        words[gl_SubgroupID * 4 + 1] = mine.countHi;
        words[gl_SubgroupID * 4 + 2] = floatBitsToUint(mine.sumLo);
        words[gl_SubgroupID * 4 + 3] = floatBitsToUint(mine.sumHi);
    }
    barrier();
    if (thread < 2) {
        uvec4 count = uvec4(0);
        for (uint s = 0; s < gl_NumSubgroups; s++) {
            count += words[s * 4 + thread];
        }
        totals[thread] = count;
    } else if (thread < 4) {
        vec4 sum = vec4(0.0);
        for (uint s = 0; s < gl_NumSubgroups; s++) {
            sum += uintBitsToFloat(words[s * 4 + thread]);
        }
        totals[thread] = floatBitsToUint(sum);
    }
    barrier();
    return Tally(totals[0], totals[1], uintBitsToFloat(totals[2]), uintBitsToFloat(totals[3]));
}

// How many the threads before this one have.
uint countBefore(uint mine) {
    uint within = subgroupExclusiveAdd(mine);
    uint sum = subgroupAdd(mine);
    barrier();
    if (subgroupElect()) {
        words[gl_SubgroupID].x = sum;
    }
    barrier();
    uint before = 0;
    for (uint s = 0; s < gl_SubgroupID; s++) {
        before += words[s].x;
    }
    return before + within;
}

#endif
