// shrink_coop for f16 weights.
#version 460
#extension GL_GOOGLE_include_directive : require

#include "include/element_f16.glsl"
#include "include/shrink_coop.glsl"
