// What each lane holds of cooperative matrices of bf16.
#version 460
#extension GL_GOOGLE_include_directive : require

#include "include/element_bf16.glsl"
#include "include/fragments.glsl"
