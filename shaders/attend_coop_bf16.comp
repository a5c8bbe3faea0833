// attend_coop for bf16 pages.
#version 460
#extension GL_GOOGLE_include_directive : require

#include "include/element_bf16.glsl"
#include "include/attend_coop.glsl"
