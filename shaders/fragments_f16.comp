// What each lane holds of cooperative matrices of f16.
#version 460
#extension GL_GOOGLE_include_directive : require

#include "include/element_f16.glsl"
#include "include/fragments.glsl"
