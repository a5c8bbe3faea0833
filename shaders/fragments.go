package shaders

import (
	"fmt"
	"log/slog"
	"unsafe"

	"lorikeet/compute"
)

// fragments says whether lanes hold the device's matrices of a type as include/coop.glsl describes for FRAGMENTS, so that kernels
// may put them together out of chunks. Vulkan leaves that to the driver, so a kernel looks, once for each type.
func (k *Kernels) fragments(t Type, shape compute.CoopShape) bool {
	if k.info.SubgroupSize != 32 || shape.M != 16 || shape.N != 16 || shape.K != 16 {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	known, ok := k.lanesHold[t]
	if !ok {
		held, err := k.heldByLanes(t)
		if err != nil {
			slog.Warn("shaders: products by cooperative matrices take the slow way", "type", t, "why", err)
		}
		known = err == nil && held == heldByChunks()
		k.lanesHold[t] = known
	}
	return known
}

// held is element i of lane l of the first operand at [0][l][i], of the second at [1][l][i] and of the sums at [2][l][i].
type held [3][32][8]float32

// heldByChunks is what FRAGMENTS needs: of both operands two pairs of k of row (or output) l / 4, and the same of l / 4 + 8; of the sums as much
// of two rows, with outputs for k.
func heldByChunks() held {
	var h held
	for matrix := range h {
		for lane := range h[matrix] {
			for i := range h[matrix][lane] {
				row, k := lane/4+i/4*8, lane%4*2+i%2+i/2%2*8
				h[matrix][lane][i] = float32(16*row + k)
			}
		}
	}
	return h
}

// heldByLanes asks the device. k.mu is held.
func (k *Kernels) heldByLanes(t Type) (held, error) {
	var h held
	result, err := k.device.Allocate(int64(unsafe.Sizeof(h)), compute.HostRead)
	if err != nil {
		return h, fmt.Errorf("shaders: fragments: %w", err)
	}
	defer result.Release()
	program, err := k.device.Record("fragments", []compute.Stage{{Label: "fragments", Dispatches: []compute.Dispatch{{
		Label:  "fragments",
		Kernel: k.locked("fragments_"+t.String(), fragmentsF16Spec{Type: uint32(t)}.constants()),
		Push:   pushBytes(fragmentsF16Push{Result: result.Address()}),
		Groups: [3]uint32{1, 1, 1},
	}}}}, nil)
	if err != nil {
		return h, fmt.Errorf("shaders: fragments: %w", err)
	}
	defer program.Release()
	ticket, err := k.device.Submit(program)
	if err == nil {
		err = k.device.Wait(ticket)
	}
	if err != nil {
		return h, fmt.Errorf("shaders: fragments: %w", err)
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h)), result.Bytes())
	return h, nil
}
