// What attend_decode does with the sums of a range of keys: the result where the row has no other range, else a part in scratch, which the
// workgroup that arrives last folds together with the others in the order of the keys. The kernel has the sums.
#ifndef DECODE_PARTS_GLSL
#define DECODE_PARTS_GLSL

const uint MERGED = 8;

// The parts of one range and key head: [head][column], then a maximum and a sum per head.
const uint PART = (GROUP * HEAD_DIM + 2 * GROUP + 3) / 4;

uint partOf(DecodeItem item, uint split) { return ((item.base + split) * push.kvHeads + gl_WorkGroupID.x) * PART; }

vec2 partStats(uint part, uint g) {
    vec4 pair = Parts(push.scratch).at[part + GROUP * HEAD_DIM / 4 + g / 2];
    return g % 2 == 0 ? pair.xy : pair.zw;
}

// Writes four columns of the row's result; at counts fours from the group's first head on.
void write(DecodeItem item, uint at, vec4 v) {
    const uint column = (gl_WorkGroupID.x * GROUP * HEAD_DIM) + at * 4;
    if (FLOATS) {
        Floats4(push.outputs).at[(item.row * push.outStride + column) >> 2] = v;
    }
    if (HALF) {
        storeHalves4(push.halves, item.row, column, push.halfPanels, v);
    }
}

// Adds up what the value groups of each head have, four columns per invocation, and stores it.
void store(DecodeItem item, uint split, uint thread) {
    const uint part = partOf(item, split);
    [[unroll]] for (uint first = 0; first < GROUP; first += HEADS_AT_ONCE) {
        barrier();
        if (thread / VECTORS < VALUE_GROUPS) {
            [[unroll]] for (uint i = 0; i < HEADS_AT_ONCE; i++) {
                uint g = first + i < GROUP ? first + i : GROUP - 1;
                fold[(i * THREADS + thread) * 2] = sumLo[g];
                fold[(i * THREADS + thread) * 2 + 1] = sumHi[g];
            }
        }
        barrier();
        const uint g = first + thread / (VECTORS * 2);
        if (thread < HEADS_AT_ONCE * VECTORS * 2 && g < GROUP) { // at most THREADS of them
            vec4 sum = vec4(0.0);
            [[unroll]] for (uint group = 0; group < VALUE_GROUPS; group++) { // a real loop would keep sumLo from registers
                sum += fold[thread / (VECTORS * 2) * THREADS * 2 + group * VECTORS * 2 + thread % (VECTORS * 2)];
            }
            uint at = g * (HEAD_DIM / 4) + thread % (VECTORS * 2);
            if (item.splits == 1) {
                write(item, at, sum / total[g]);
            } else {
                Parts(push.scratch).at[part + at] = sum;
            }
        }
    }
    if (item.splits > 1 && thread < (GROUP + 1) / 2) {
        uint g = thread * 2;
        uint h = min(g + 1, GROUP - 1);
        Parts(push.scratch).at[part + GROUP * HEAD_DIM / 4 + thread] = vec4(highest[g], total[g], highest[h], total[h]);
    }
}

// Whether this workgroup is the last of its row and key head to store its parts. The counter is zero again then.
bool arriveLast(DecodeItem item, uint parts, uint thread) {
    if (parts == item.splits) { // it has them all
        meet();
        return true;
    }
    memoryBarrierBuffer();
    barrier();
    if (thread == 0) {
        uint counter = item.row * push.kvHeads + gl_WorkGroupID.x;
        last = atomicAdd(Counters(push.counters).at[counter], parts) == item.splits - parts;
        if (last) {
            atomicExchange(Counters(push.counters).at[counter], 0);
        }
        memoryBarrierBuffer();
    }
    barrier();
    return last;
}

// Folds a row's parts together, MERGED at a time so that their loads are in flight together.
void merge(DecodeItem item, uint thread) {
    [[dont_unroll]] for (uint i = thread; i < GROUP * HEAD_DIM / 4; i += THREADS) {
        uint g = i / (HEAD_DIM / 4);
        float top = LOWEST;
        float weight = 0.0;
        vec4 sum = vec4(0.0);
        [[dont_unroll]] for (uint first = 0; first < item.splits; first += MERGED) {
            vec2 stats[MERGED];
            vec4 parts[MERGED];
            [[unroll]] for (uint s = 0; s < MERGED; s++) {
                uint part = partOf(item, min(first + s, item.splits - 1));
                stats[s] = partStats(part, g);
                parts[s] = Parts(push.scratch).at[part + i];
            }
            float before = top;
            [[unroll]] for (uint s = 0; s < MERGED; s++) {
                top = max(top, stats[s].x);
            }
            weight *= exp2(before - top);
            sum *= exp2(before - top);
            [[unroll]] for (uint s = 0; s < MERGED; s++) {
                float factor = first + s < item.splits ? exp2(stats[s].x - top) : 0.0;
                weight = fma(factor, stats[s].y, weight);
                sum = fma(vec4(factor), parts[s], sum);
            }
        }
        write(item, i, sum / weight);
    }
}

#endif
