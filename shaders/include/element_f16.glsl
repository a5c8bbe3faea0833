// Operands of cooperative matrices in f16.
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require

#define ELEMENT float16_t
uint packElements(vec2 v) { return packFloat2x16(f16vec2(v)); }
