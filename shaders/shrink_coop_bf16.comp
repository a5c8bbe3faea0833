// shrink_coop for bf16 weights.
#version 460
#extension GL_GOOGLE_include_directive : require

#include "include/element_bf16.glsl"
#include "include/shrink_coop.glsl"
