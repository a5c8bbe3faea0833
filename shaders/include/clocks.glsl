// The clocks by which sample.comp draws: a hash of (seed, position, token) as an exponentially distributed number.
#ifndef CLOCKS_GLSL
#define CLOCKS_GLSL

uint mixBits(uint h) {
    h ^= h >> 16;
    h *= 0x85ebca6bu;
    h ^= h >> 13;
    h *= 0xc2b2ae35u;
    return h ^ (h >> 16);
}

// A number uniform among 2^32 that depends on (seed, position, token) alone.
uint hashOf(uvec2 seed, uint token) { return mixBits(mixBits(token + seed.x) ^ seed.y); }

// The exponentially distributed number -log(1-v), v = (h + 1/2) / 2^32. Where 1-v is too near 1 for floats, it comes
// from its series.
float clockOf(uint h) {
    const float unit = 1.0 / 4294967296.0;
    if (h < 0x02000000u) { // v below 2^-7
        float v = (float(h) + 0.5) * unit;
        return v * (1.0 + v * (0.5 + v * (1.0 / 3.0 + v * 0.25)));
    }
    return -log((float(~h) + 0.5) * unit);
}

// Seed and position, mixed so that neighbours have nothing in common.
uvec2 drawSeed(SampleRow row) {
    uint a = mixBits(row.seedLo ^ 0x9e3779b9u);
    uint b = mixBits(row.seedHi + a);
    uint c = mixBits(row.position ^ b);
    return uvec2(mixBits(a + c), mixBits(b ^ (c * 0x9e3779b1u)));
}

#endif
