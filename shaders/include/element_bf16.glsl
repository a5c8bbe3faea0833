// Operands of cooperative matrices in bf16.
#extension GL_EXT_bfloat16 : require

#define ELEMENT bfloat16_t

// The bits of a float with those of its nearest bf16 (ties to even) in the upper half. A conversion to bfloat16_t may
// truncate. The bound keeps a NaN of all ones, which GPUs make, from wrapping around.
uint roundElement(float v) {
    uint bits = uint(min(floatBitsToInt(v), 0x7fff7fff));
    return bits + 0x7fffu + ((bits >> 16) & 1u);
}

uint packElements(vec2 v) { return (roundElement(v.x) >> 16) | (roundElement(v.y) & 0xffff0000u); }
