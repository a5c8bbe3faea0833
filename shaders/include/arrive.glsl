// Who ends a tile of a projection that has adapters, where stages do not flow (flow.glsl). Its outputs need the projection's workgroup and
// the whole shrink, which run in one stage in any order. Both arrive at the tile's counter and whoever comes last ends it: nobody waits, so
// no workgroup has to be running for another to go on. A tile is ended by the same operations either way.
//
// What one side wrote before it arrived the other reads after: all of it goes through coherent references, with a
// barrier of memory on each side of the counter. The last to arrive leaves the counter at zero.
#ifndef ARRIVE_GLSL
#define ARRIVE_GLSL

#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_ballot : require

#include "flow.glsl"
#include "tile.glsl"

layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer Arrivals { uint at[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) coherent buffer Waiting { vec4 at[]; };

shared uint arrived; // at the counter, before this workgroup

// Where the outputs of a unit wait.
uvec2 placesOf(Epilogue e, uint t, uint unit) {
    const uint row = t * e.outputStride;
    return (row + uvec2(columnOf(unit * 8, e.outputStride), columnOf(unit * 8 + 4, e.outputStride))) >> 2;
}

// Makes what the workgroup wrote known to the other side and counts it; arrived tells who was there before.
void arriveAt(Epilogue e, uint counter, uint thread) {
    meet();
    if (thread == 0) {
        memoryBarrierBuffer();
        arrived = atomicAdd(Arrivals(e.arrivals).at[counter], 1);
        memoryBarrierBuffer();
    }
    meet();
}

const uint LOOKS = 20000; // on a GPU, where each takes about half a microsecond

// Looks whether the shrink has arrived meanwhile, up to so many times; the answer is in arrived after the next barrier. On a GPU the
// shrink begins first and is shorter than any tile, or nearly, while what waits for its last workgroup takes long. So a
// tile looks again and again; but not forever, since nothing promises that the shrink goes on meanwhile.
void lookAt(uint64_t arrivals, uint tile, uint thread, uint times) {
    if (thread == 0) {
        uint seen = 0;
        for (uint i = 0; i < times && seen == 0; i++) {
            seen = atomicAdd(Arrivals(arrivals).at[tile], 0);
        }
        arrived = seen;
        memoryBarrierBuffer();
    }
}

// Says whether the workgroup ends its tile of units by rows, whose outputs are in shared memory; else they are left to the shrink. The
// whole workgroup calls it behind a barrier, before which it called lookAt where there are adapters.
bool claimTile(Epilogue e, uint tile, uint units, uint rows, uint thread, uint threads) {
    if (!LORA) {
        return true;
    }
    if (arrived == 0) {
        const uint firstUnit = tile / e.rowTiles * units;
        const uint firstRow = tile % e.rowTiles * rows;
        [[dont_unroll]] for (uint i = thread; i < units * rows; i += threads) {
            const uint unit = firstUnit + i % units;
            const uint t = firstRow + i / units;
            if (unit < e.units && t < e.rows) {
                const uvec2 at = placesOf(e, t, unit);
                const Eight outputs = tileOutputs(i % units, i / units);
                Waiting(e.outputs).at[at.x] = outputs.lo;
                Waiting(e.outputs).at[at.y] = outputs.hi;
            }
        }
        arriveAt(e, tile, thread);
        if (arrived == 0) {
            return false;
        }
    } else {
        meet();
    }
    if (thread == 0) {
        atomicExchange(Arrivals(e.arrivals).at[tile], 0);
    }
    return true;
}

#endif
