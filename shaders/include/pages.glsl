// The paged KV cache. A page holds PAGE_TOKENS consecutive tokens of one sequence for all layers; at a layer's offset
// inside it lie its keys, [key head][token][head dim] of TYPE, then its values, the same.
#ifndef PAGES_GLSL
#define PAGES_GLSL

#include "weights.glsl"

const uint PAGE_TOKENS = 16; // tokens in one KV page

#endif
