// Reading and writing values in the checkpoint's own type.
//
// Addresses are plain uint64_t: a kernel's push block carries them and hands them to the functions below, which
// index in elements from that address. An address is 256-byte aligned, or at least a multiple of 16 bytes where
// eight elements are read, 8 bytes where four are.
#ifndef WEIGHTS_GLSL
#define WEIGHTS_GLSL

#extension GL_EXT_buffer_reference : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require

// The element type of every matrix, gamma and KV page the kernel touches: 0 = f32, 1 = f16, 2 = bf16.
layout(constant_id = 0) const uint TYPE = 0;

// What earlier stages left. Kernels whose stages flow (flow.glsl) say that it is coherent.
#ifndef LEFT
#define LEFT
#endif

layout(buffer_reference, std430, buffer_reference_align = 4) LEFT buffer Floats { float at[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) LEFT buffer Floats4 { vec4 at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) LEFT buffer Uints { uint at[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) LEFT buffer Uints2 { uvec2 at[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) LEFT buffer Uints4 { uvec4 at[]; };

// What no stage writes.
layout(buffer_reference, std430, buffer_reference_align = 4) buffer Fixed { uint at[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer Fixed4 { uvec4 at[]; };

struct Eight {
    vec4 lo;
    vec4 hi;
};

// Bytes of one element of TYPE.
uint typeSize() { return TYPE == 0 ? 4 : 2; }

// Two packed 16-bit values as floats; x is the low half.
vec2 unpackPair(uint word) {
    if (TYPE == 1) {
        return unpackHalf2x16(word);
    }
    return vec2(uintBitsToFloat(word << 16), uintBitsToFloat(word & 0xffff0000u));
}

// The 16 raw bytes (32 for f32) of eight elements, so that a caller can put several loads in flight before the
// first conversion.
struct Raw8 {
    uvec4 a;
    uvec4 b; // f32 only
};

// Eight consecutive elements from element, a multiple of 8.
Raw8 loadRaw8(uint64_t base, uint element) {
    Raw8 raw;
    if (TYPE == 0) {
        raw.a = Uints4(base).at[element >> 2];
        raw.b = Uints4(base).at[(element >> 2) + 1];
    } else {
        raw.a = Uints4(base).at[element >> 3];
        raw.b = uvec4(0);
    }
    return raw;
}

Eight decode8(Raw8 raw) {
    if (TYPE == 0) {
        return Eight(uintBitsToFloat(raw.a), uintBitsToFloat(raw.b));
    }
    return Eight(vec4(unpackPair(raw.a.x), unpackPair(raw.a.y)), vec4(unpackPair(raw.a.z), unpackPair(raw.a.w)));
}

// Eight consecutive elements from element, a multiple of 8.
Eight load8(uint64_t base, uint element) { return decode8(loadRaw8(base, element)); }

// Four consecutive elements from element, a multiple of 4.
vec4 load4(uint64_t base, uint element) {
    if (TYPE == 0) {
        return uintBitsToFloat(Uints4(base).at[element >> 2]);
    }
    uvec2 words = Uints2(base).at[element >> 2];
    return vec4(unpackPair(words.x), unpackPair(words.y));
}

// One element.
float load1(uint64_t base, uint element) {
    if (TYPE == 0) {
        return Floats(base).at[element];
    }
    vec2 pair = unpackPair(Uints(base).at[element >> 1]);
    return (element & 1u) == 0u ? pair.x : pair.y;
}

// The f16 bits of a float, nearest even. packHalf2x16 is not used: its rounding is the driver's choice.
uint halfBits(float value) {
    uint bits = floatBitsToUint(value);
    uint sign = (bits >> 16) & 0x8000u;
    uint magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return sign | 0x7e00u;
    }
    if (magnitude >= 0x47800000u) { // 2^16; between that and 65504 the rounding below carries into infinity
        return sign | 0x7c00u;
    }
    if (magnitude < 0x38800000u) { // below 2^-14: the float adder rounds to the subnormal's step
        return sign | (floatBitsToUint(uintBitsToFloat(magnitude) + 0.5) - 0x3f000000u);
    }
    return sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13);
}

// The bf16 bits of a float, nearest even.
uint bfloatBits(float value) {
    uint bits = floatBitsToUint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (bits >> 16) | 0x40u;
    }
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

uint packPair(float low, float high) {
    if (TYPE == 1) {
        return halfBits(low) | (halfBits(high) << 16);
    }
    return bfloatBits(low) | (bfloatBits(high) << 16);
}

// Writes four consecutive elements at element, a multiple of 4, rounded to nearest even.
void store4(uint64_t base, uint element, vec4 v) {
    if (TYPE == 0) {
        Floats4(base).at[element >> 2] = v;
    } else {
        Uints2(base).at[element >> 2] = uvec2(packPair(v.x, v.y), packPair(v.z, v.w));
    }
}

// Writes eight consecutive elements at element, a multiple of 8, rounded to nearest even.
void store8(uint64_t base, uint element, Eight v) {
    if (TYPE == 0) {
        Floats4(base).at[element >> 2] = v.lo;
        Floats4(base).at[(element >> 2) + 1] = v.hi;
    } else {
        Uints4(base).at[element >> 3] = uvec4(packPair(v.lo.x, v.lo.y), packPair(v.lo.z, v.lo.w),
                                              packPair(v.hi.x, v.hi.y), packPair(v.hi.z, v.hi.w));
    }
}

// Four, eight fp32 activations from element, a multiple of 4.
vec4 floats4(uint64_t base, uint element) { return Floats4(base).at[element >> 2]; }
Eight floats8(uint64_t base, uint element) { return Eight(floats4(base, element), floats4(base, element + 4)); }

float dot8(Eight a, Eight b) { return dot(a.lo, b.lo) + dot(a.hi, b.hi); }
Eight add8(Eight a, Eight b) { return Eight(a.lo + b.lo, a.hi + b.hi); }
Eight mul8(Eight a, Eight b) { return Eight(a.lo * b.lo, a.hi * b.hi); }

#endif
