// One token per row of logits: the most likely one, one drawn from the filtered distribution, or a given one to score.
// Grid: {rows, 1, 1}.
//
// With x_i = (logit_i - max) / temperature and p_i = exp(x_i) / Z, a draw keeps the tokens that have
//
//	fewer than topK tokens above them, at most topP of probability above them, p_i >= minP * max p
//
// (tokens of equal logits share one fate) and takes the one whose clock E_i / p_i rings first, E_i exponentially
// distributed by a hash of (seed, position, i). Kept tokens are those above a threshold, which is found exactly by
// cutting the range of logits into sections, first over the whole row, then over the few candidates left.
//
// One workgroup has one row. Where logits are sorted they are unsigned keys that order like them. NaN counts as minus
// infinity, and what lies beyond the vocabulary too; its key is 0. All sums run in a fixed order.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

#include "include/weights.glsl"

layout(constant_id = 1) const uint THREADS = 512; // a power of two, 64 to 512
layout(local_size_x_id = 1) in;

const uint TOKEN = 0xffffffffu; // a target that asks for a sampled token
const uint MAX_TOP = 64;        // entries of a row's list of most likely tokens

// What one row of logits is for.
struct SampleRow {
    uint lane;         // whose last token to set, unless there is a target
    uint target;       // the token to score
    float temperature; // 0: the most likely token
    uint topK;         // 0: off
    float topP;        // 1: off
    float minP;        // 0: off
    uint seedLo;
    uint seedHi;
    uint position;
    uint topN;      // how many of the most likely tokens to list
    uint idsOffset; // tokens whose log probability is wanted: ids[idsOffset] and on
    uint idsCount;
};

// The sampled or scored token. Log probabilities are of the distribution at the row's temperature, at temperature 1 for
// greedy and scored rows; they are NaN when a logit is, or is plus infinity.
struct SampleResult {
    uint token;
    float logprob;
};

// One of the most likely tokens.
struct TopEntry {
    uint token;
    float logprob;
};

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer SampleRows { SampleRow at[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) buffer SampleResults { SampleResult at[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) buffer TopEntries { TopEntry at[]; };

layout(push_constant) uniform Push {
    uint64_t logits;     // fp32 [row][stride]
    uint64_t params;     // SampleRow [row]
    uint64_t ids;        // uint32, all rows'
    uint64_t results;    // SampleResult [row]
    uint64_t topOut;     // TopEntry [row][MAX_TOP]
    uint64_t idsOut;     // fp32, like ids
    uint64_t lastTokens; // uint32 [lane]
    uint stride;
    uint vocab;
} push;

const uint SMALLEST_SUBGROUP = 8;
const uint SUBGROUPS = THREADS / SMALLEST_SUBGROUP;

const uint CANDIDATES = 2048;
const uint MINE = CANDIDATES / THREADS;
const uint NOBODY = 0xffffffffu;
const uint SMALLEST_KEY = 0x00800000u; // of the lowest finite float

const float LOG2E = 1.4426950408889634;
const float LOWEST = -3.4e38;
const float INFINITY = uintBitsToFloat(0x7f800000u);
const float NOT_A_NUMBER = uintBitsToFloat(0x7fc00000u);

shared uvec4 words[SUBGROUPS * 4]; // one line per subgroup, for reductions
shared uvec4 totals[4];
shared uint candidates[CANDIDATES];

const uint DEPTH = 4;

uint thread;
uint64_t rowLogits;
float top;   // the largest logit
float scale; // 1 / temperature
vec4 fetched[DEPTH];
uint widest; // the largest magnitude fetched, as bits, which shows a NaN

uint keyOf(float v) {
    uint bits = v == 0.0 ? 0 : floatBitsToUint(v); // one zero
    if (bits >= 0xff800000u || (bits & 0x7fffffffu) > 0x7f800000u) {
        return 0;
    }
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

float valueOf(uint key) { return uintBitsToFloat((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key); }

// Whose places in a four lie beyond the vocabulary.
bvec4 beyond(uint four) { return greaterThanEqual(uvec4(four * 4) + uvec4(0, 1, 2, 3), uvec4(push.vocab)); }

// The keys of four tokens from 4 * four.
uvec4 keysAt(uint four) {
    vec4 v = Floats4(rowLogits).at[four];
    return mix(uvec4(keyOf(v.x), keyOf(v.y), keyOf(v.z), keyOf(v.w)), uvec4(0), beyond(four));
}

// The next DEPTH fours of this thread, which takes every THREADS-th, so that as many loads are in flight.
void fetch(uint first) {
    [[unroll]] for (uint d = 0; d < DEPTH; d++) {
        fetched[d] = Floats4(rowLogits).at[min(first + d * THREADS, (push.vocab - 1) / 4)];
    }
    [[unroll]] for (uint d = 0; d < DEPTH; d++) {
        vec4 v = mix(fetched[d], vec4(-INFINITY), beyond(first + d * THREADS));
        uvec4 magnitude = floatBitsToUint(v) & 0x7fffffffu;
        widest = max(widest, max(max(magnitude.x, magnitude.y), max(magnitude.z, magnitude.w)));
        fetched[d] = mix(v, vec4(-INFINITY), greaterThan(magnitude, uvec4(0x7f800000u)));
    }
}

// p_i / max p
float likelihood(float v) { return exp2((v - top) * (scale * LOG2E)); }

#include "include/tally.glsl"

// What the first pass finds.
struct Survey {
    Best mine;   // this thread's largest logit
    Best best;   // the row's
    uint finite; // how many of this thread's logits are
    uint all;    // how many of the row's
    float total; // Z * max p
};

// One pass for the largest logit and the sum of exponentials below it: a thread's sum is rescaled when its largest
// logit changes, which soon becomes rare.
Survey survey() {
    Survey s;
    s.finite = 0;
    float sum = 0.0;
    uint index = NOBODY;
    top = LOWEST;
    for (uint first = thread; first * 4 < push.vocab; first += DEPTH * THREADS) {
        fetch(first);
        [[unroll]] for (uint d = 0; d < DEPTH; d++) {
            vec4 v = fetched[d];
            float largest = max(max(v.x, v.y), max(v.z, v.w));
            if (largest > top) {
                sum *= exp2((top - largest) * (scale * LOG2E));
                top = largest;
                uint within = v.x == top ? 0 : v.y == top ? 1 : v.z == top ? 2 : 3;
                index = (first + d * THREADS) * 4 + within;
            }
            [[unroll]] for (uint i = 0; i < 4; i++) {
                sum += likelihood(v[i]);
                s.finite += v[i] > -INFINITY ? 1 : 0;
            }
        }
    }
    const float own = top;
    s.mine = Best(index == NOBODY ? 0 : keyOf(own), index);
    s.best = bestOf(s.mine);
    top = s.best.key == 0 ? LOWEST : valueOf(s.best.key);
    Tally tally = NOTHING;
    tally.sumLo.x = sum * exp2((own - top) * (scale * LOG2E));
    tally.countLo.x = s.finite;
    tally.countLo.y = widest > 0x7f800000u ? 1 : 0;
    tally = tallyOf(tally);
    s.all = tally.countLo.x;
    s.total = tally.countLo.y == 0 && tally.sumLo.x > 0.0 ? tally.sumLo.x : NOT_A_NUMBER;
    return s;
}

#include "include/threshold.glsl"
#include "include/clocks.glsl"

uint draw(Survey s, SampleRow row) {
    const float smallest = threshold(s, row);
    const uvec2 seed = drawSeed(row);
    Best mine = Best(0, NOBODY);
    float fastest = 0.0; // the largest p / E of this subgroup so far
    for (uint first = thread; first * 4 < push.vocab; first += DEPTH * THREADS) {
        fetch(first);
        [[unroll]] for (uint i = 0; i < 4 * DEPTH; i++) {
            float v = fetched[i / 4][i % 4];
            float p = likelihood(v);
            if (v >= smallest && p >= row.minP && p > 0.0) {
                uint token = (first + i / 4 * THREADS) * 4 + i % 4;
                uint h = hashOf(seed, token);
                // E is at least v, so whoever is slower even with v, rounded down, need not look for E.
                float below = uintBitsToFloat(0x3f800000u | (h >> 9)) - 1.0;
                if (below * fastest <= p) {
                    mine = better(mine, Best(floatBitsToUint(p / clockOf(h)), token));
                }
            }
        }
        fastest = subgroupMax(max(fastest, uintBitsToFloat(mine.key)));
    }
    return bestOf(mine).index;
}

// The most likely tokens one after another. A thread keeps its best one; the workgroup finds the next best of whoever
// just gave his.
void listTop(Survey s, float logTotal, uint count) {
    Best mine = s.mine;
    for (uint n = 0; n < count; n++) {
        Best taken = bestOf(mine);
        if (thread == 0) {
            TopEntry entry = TopEntry(taken.index, (valueOf(taken.key) - top) * scale - logTotal);
            TopEntries(push.topOut).at[gl_WorkGroupID.x * MAX_TOP + n] = entry;
        }
        uint owner = taken.index / 4 % THREADS;
        Best next = Best(0, NOBODY);
        for (uint four = owner + thread * THREADS; four * 4 < push.vocab; four += THREADS * THREADS) {
            uvec4 keys = keysAt(four);
            [[unroll]] for (uint i = 0; i < 4; i++) {
                Best other = Best(keys[i], four * 4 + i);
                if (other.key != 0 && other != taken && better(taken, other) == taken) {
                    next = better(next, other);
                }
            }
        }
        next = bestOf(next);
        if (thread == owner) {
            mine = next;
        }
    }
}

void main() {
    thread = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    rowLogits = push.logits + uint64_t(gl_WorkGroupID.x) * push.stride * 4;
    const SampleRow row = SampleRows(push.params).at[gl_WorkGroupID.x];
    const bool draws = row.target == TOKEN && row.temperature > 0.0;
    scale = draws ? 1.0 / row.temperature : 1.0;

    widest = 0;
    Survey s = survey();
    const float logTotal = log(s.total);
    uint token = row.target;
    if (row.target == TOKEN) {
        token = draws ? draw(s, row) : NOBODY;
        token = token == NOBODY ? s.best.index : token;
        token = token == NOBODY ? 0 : token; // not one logit is finite
    }
    if (thread == 0) {
        float logprob = (Floats(rowLogits).at[token] - top) * scale - logTotal;
        SampleResults(push.results).at[gl_WorkGroupID.x] = SampleResult(token, logprob);
        if (row.target == TOKEN) {
            Uints(push.lastTokens).at[row.lane] = token;
        }
    }
    for (uint i = thread; i < row.idsCount; i += THREADS) {
        uint id = Uints(push.ids).at[row.idsOffset + i];
        Floats(push.idsOut).at[row.idsOffset + i] = (Floats(rowLogits).at[id] - top) * scale - logTotal;
    }
    listTop(s, logTotal, row.topN);
}
