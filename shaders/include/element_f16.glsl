// Operands of cooperative matrices in f16.
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require

#define ELEMENT float16_t
#define ELEMENT2 f16vec2

// The two elements of a word.
ELEMENT2 elements(uint word) { return unpackFloat2x16(word); }
uint packElements(vec2 v) { return packFloat2x16(f16vec2(v)); }
// See element_bf16.glsl; here they are the same.
uint packNear(vec2 v) { return packElements(v); }
