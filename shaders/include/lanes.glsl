// How kernels for a CPU's lanes read memory. There every load is a loop over the lanes, wherever they point, and dear;
// taking a value from a constant lane is cheap, adding up lanes is not. So each lane has results of its own, loads are
// few and 64 bits wide, and what all lanes need is loaded once, in pairs spread over eight lanes, and broadcast.
#ifndef LANES_GLSL
#define LANES_GLSL

#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_ballot : require

#include "weights.glsl"

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Longs { uint64_t at[]; };

// Eight elements of TYPE from element, a multiple of 8; each lane may have its own row.
Eight lane8(uint64_t row, uint element) {
    if (TYPE == 0) {
        uvec2 a = unpackUint2x32(Longs(row).at[element / 2]);
        uvec2 b = unpackUint2x32(Longs(row).at[element / 2 + 1]);
        uvec2 c = unpackUint2x32(Longs(row).at[element / 2 + 2]);
        uvec2 d = unpackUint2x32(Longs(row).at[element / 2 + 3]);
        return Eight(uintBitsToFloat(uvec4(a, b)), uintBitsToFloat(uvec4(c, d)));
    }
    uvec2 a = unpackUint2x32(Longs(row).at[element / 4]);
    uvec2 b = unpackUint2x32(Longs(row).at[element / 4 + 1]);
    return Eight(vec4(unpackPair(a.x), unpackPair(a.y)), vec4(unpackPair(b.x), unpackPair(b.y)));
}

float pick8(Eight v, uint i) { return i < 4 ? v.lo[i % 4] : v.hi[i % 4]; }

// Two floats, two elements of TYPE, from element, an even number.
vec2 floatPair(uint64_t base, uint element) { return uintBitsToFloat(unpackUint2x32(Longs(base).at[element / 2])); }
vec2 typePair(uint64_t base, uint element) {
    return TYPE == 0 ? floatPair(base, element) : unpackPair(Uints(base).at[element / 2]);
}

// Where this lane's pair lies among sixteen elements that eight lanes hold.
uint pairOffset() { return gl_SubgroupInvocationID % 8 * 2; }

// The i-th of sixteen elements spread in pairs, i a constant.
#define SPREAD(pair, i) subgroupBroadcast((pair)[(i) % 2], (i) / 2)

#endif
