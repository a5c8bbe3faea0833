// Operands of cooperative matrices in bf16.
#extension GL_EXT_bfloat16 : require
#extension GL_EXT_shader_explicit_arithmetic_types : require

#define ELEMENT bfloat16_t

// The two elements of a word, which costs nothing: no bit of them changes its place.
struct ELEMENT2 {
    bfloat16_t x;
    bfloat16_t y;
};
ELEMENT2 elements(uint word) {
    u16vec2 halves = unpack16(word);
    return ELEMENT2(uintBitsToBFloat16EXT(halves.x), uintBitsToBFloat16EXT(halves.y));
}

// The bits of a float with those of its nearest bf16 (ties to even) in the upper half. A conversion to bfloat16_t may
// truncate. The bound keeps a NaN of all ones, which GPUs make, from wrapping around.
uint roundElement(float v) {
    uint bits = uint(min(floatBitsToInt(v), 0x7fff7fff));
    return bits + 0x7fffu + ((bits >> 16) & 1u);
}

uint packElements(vec2 v) { return (roundElement(v.x) >> 16) | (roundElement(v.y) & 0xffff0000u); }

// The same in fewer instructions, for numbers that are no NaN; a tie goes away from zero.
uint packNear(vec2 v) { return ((floatBitsToUint(v.x) + 0x8000u) >> 16) | ((floatBitsToUint(v.y) + 0x8000u) & 0xffff0000u); }
