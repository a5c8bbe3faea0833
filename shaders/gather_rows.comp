// to[t] = from[row(t)]: some rows of a matrix as another one, both of fp32 rows or both in panels.
// Grid: {blocks of chunks, rows, 1}; an invocation has a chunk, 16 bytes.
#version 460
#extension GL_GOOGLE_include_directive : require

#include "include/panels.glsl"

layout(constant_id = 1) const bool PANELS = false;

const uint CHUNKS = 64; // of a workgroup
layout(local_size_x = CHUNKS) in;

layout(buffer_reference, std430, buffer_reference_align = 16) writeonly buffer Chunks { uvec4 at[]; };

layout(push_constant) uniform Push {
    uint64_t from;   // fp32 [row][4 * chunks] or, with PANELS, 16-bit elements in panels
    uint64_t to;     // the same, [t]; written
    uint64_t gather; // uint32 [t], the row of each t
    uint chunks;     // of a row
} push;

uint chunkAt(uint row, uint chunk) {
    return PANELS ? chunkOf(row, chunk * 8, push.chunks * 8 / PANEL_COLUMNS) : row * push.chunks + chunk;
}

void main() {
    const uint t = gl_WorkGroupID.y;
    const uint chunk = gl_GlobalInvocationID.x;
    if (chunk < push.chunks) {
        const uint row = Uints(push.gather).at[t];
        Chunks(push.to).at[chunkAt(t, chunk)] = Uints4(push.from).at[chunkAt(row, chunk)];
    }
}
