// project_coop_many for bf16 weights.
#version 460
#extension GL_GOOGLE_include_directive : require

#include "include/element_bf16.glsl"
#include "include/project_coop_many.glsl"
