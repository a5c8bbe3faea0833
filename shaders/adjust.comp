// Changes some logits of some rows, before they are sampled, to
//
//	x / factor + add    where x > 0
//	x * factor + add    elsewhere
//
// A token is in a row's list once.
// Grid: {rows, 1, 1}.
#version 460
#extension GL_GOOGLE_include_directive : require

#include "include/weights.glsl"

const uint THREADS = 256;
layout(local_size_x = 256) in;

// Which adjustments are a row's.
struct AdjustRow {
    uint first;
    uint count;
};

// What becomes of one logit.
struct Adjustment {
    uint token;
    float factor; // greater than 0; 1: none
    float add;
    uint pad;
};

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer AdjustRows { AdjustRow at[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Adjustments { Adjustment at[]; };

layout(push_constant) uniform Push {
    uint64_t logits;      // fp32 [row][stride], read and written
    uint64_t rows;        // AdjustRow [row]
    uint64_t adjustments; // Adjustment, all rows'
    uint stride;
} push;

void main() {
    AdjustRow row = AdjustRows(push.rows).at[gl_WorkGroupID.x];
    for (uint i = gl_LocalInvocationIndex; i < row.count; i += THREADS) {
        Adjustment a = Adjustments(push.adjustments).at[row.first + i];
        uint at = gl_WorkGroupID.x * push.stride + a.token;
        float x = Floats(push.logits).at[at];
        Floats(push.logits).at[at] = (x > 0.0 ? x / a.factor : x * a.factor) + a.add;
    }
}
