// attend_coop for f16 pages.
#version 460
#extension GL_GOOGLE_include_directive : require

#include "include/element_f16.glsl"
#include "include/attend_coop.glsl"
