// Dividing a product between the places that a device has for workgroups. In a row of tiles, a workgroup has one tile of outputs as long as
// those fill all places. The tiles that are left are divided along their columns: each of the workgroups after those has the same number of
// panels, of one tile, or of the end of one and the beginning of the next. Who has a tile's last panels ends it, and adds up what
// the others left of it.
//
// All rows of tiles are divided alike: a row's sums do not depend on which it is in.
//
// It is for devices that start workgroups in the order of their indices, x first. A workgroup waits for such as come before it, and leaves what
// others wait for before it waits itself.
#ifndef DIVIDE_GLSL
#define DIVIDE_GLSL

#include "flow.glsl"

const uint MOST_PARTS = 8;     // that a tile is divided into, nearly
const uint MOST_PLACES = 1024; // flags before the sums

// Not coherent, so that loads and stores of fours stay such; meetAll orders them.
layout(buffer_reference, std430, buffer_reference_align = 16) nonprivate buffer Parts { vec4 at[]; };

// A barrier of the workgroup behind which every invocation sees what was written on the device before another of them looked, and
// the device may see what they wrote. It takes Vulkan's memory model.
void meetAll() {
    controlBarrier(gl_ScopeWorkgroup, gl_ScopeDevice, gl_StorageSemanticsBuffer | gl_StorageSemanticsShared,
                   gl_SemanticsAcquireRelease | gl_SemanticsMakeAvailable | gl_SemanticsMakeVisible);
}

struct Division {
    uint whole;   // tiles of one workgroup each
    uint workers; // workgroups that the others are divided between
    uint panels;  // that those have, all together
};

// How a row of tiles is divided, one of so many rows.
Division divisionOf(uint tiles, uint rows, uint places, uint panels) {
    const uint each = places / rows;
    const uint rest = each > 1 ? tiles % each : 0;
    if (rest == 0 || rest * 5 > each * 4) { // too little to gain
        return Division(tiles, 0, 0);
    }
    const uint most = min(MOST_PARTS, panels);
    const uint even = rest * min(most, each / rest); // workers, if all tiles had as many
    return Division(tiles - rest, even * 8 >= each * 7 ? even : min(each, rest * most), rest * panels);
}

// Where a worker's panels begin; the one before it ends there.
uint firstPanel(Division d, uint worker) {
    return d.panels / d.workers * worker + min(worker, d.panels % d.workers);
}

// Where the sums of a workgroup lie in Parts, in fours; each leaves so many.
uint partSums(uint workgroup, uint fours) { return MOST_PLACES / 4 + workgroup * fours; }

// Tells that the workgroup has left its sums. The whole workgroup calls it.
void leavePart(uint64_t parts, uint workgroup, uint thread) {
    meetAll();
    if (thread == 0) {
        atomicStore(Owed(parts).at[workgroup], 1u, gl_ScopeDevice, gl_StorageSemanticsBuffer, gl_SemanticsRelease);
    }
}

// Waits for those of others, up to as many as the workgroup has invocations, which nobody else reads: every step-th workgroup from
// first on. The whole workgroup calls it.
void awaitParts(uint64_t parts, uint first, uint step, uint count, uint thread) {
    if (thread < count) {
        const uint workgroup = first + thread * step;
        while (atomicLoad(Owed(parts).at[workgroup], gl_ScopeDevice, gl_StorageSemanticsBuffer, gl_SemanticsAcquire) == 0u) {
        }
        atomicStore(Owed(parts).at[workgroup], 0u, gl_ScopeDevice, gl_StorageSemanticsBuffer, gl_SemanticsRelease);
    }
    meetAll();
}

#endif
