// halves[t,k] = gamma[k] * x[row(t),k], rounded to TYPE, in panels: activations as products by cooperative matrices read them.
// Grid: {blocks of columns, rows, 1}; an invocation has eight columns. Columns past the width, up to the tile's last, are zeros.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require

#include "include/ends.glsl"
#include "include/panels.glsl"

layout(constant_id = 1) const bool NORM = false;   // with gamma
layout(constant_id = 2) const bool GATHER = false; // rows are looked up

const uint COLUMNS = 512; // of a workgroup
layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint64_t x;      // fp32 [row][xStride]
    uint64_t halves; // TYPE, in panels
    uint64_t gamma;  // TYPE [width]
    uint64_t gather; // uint32 [t], the row of each t, with GATHER
    uint xStride;
    uint width;
    uint panels; // that the columns take
} push;

void main() {
    const uint t = gl_WorkGroupID.y;
    const uint column = (gl_WorkGroupID.x * 64 + gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID) * 8;
    if (column >= push.panels * PANEL_COLUMNS) {
        return;
    }
    Eight v = Eight(vec4(0.0), vec4(0.0));
    if (column < push.width) {
        const uint row = GATHER ? Uints(push.gather).at[t] : t;
        v = floats8(push.x, row * push.xStride + column);
        if (NORM) {
            v = mul8(v, load8(push.gamma, column));
        }
        v = Eight(clip(v.lo, column, push.width), clip(v.hi, column + 4, push.width));
    }
    storeHalves8(push.halves, t, column, push.panels, v);
}
