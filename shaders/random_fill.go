package shaders

import (
	"math"

	"lorikeet/compute"
)

// RandomFill writes Count uniform values of standard deviation Scale and mean zero, a function of (Seed, index) only.
// Up to seven elements behind the last are set to zero, so the memory is a multiple of 8 elements.
type RandomFill struct {
	Address uint64
	Count   int64
	Type    Type
	Scale   float32
	Seed    uint32
}

// RandomFillWidth is the interval's width for a standard deviation.
func RandomFillWidth(scale float32) float32 { return scale * float32(math.Sqrt(12)) }

// randomFillMostGroups keeps the grid within what every device allows; the shader strides over the rest.
const randomFillMostGroups = 65535

// Dispatch returns the launch.
func (r RandomFill) Dispatch(k *Kernels) compute.Dispatch {
	const elements = 256 * 8 // of one workgroup
	groups := min((r.Count+elements-1)/elements, randomFillMostGroups)
	return compute.Dispatch{
		Label:  "random_fill",
		Kernel: k.kernel("random_fill", randomFillSpec{Type: uint32(r.Type)}),
		Push: pushBytes(randomFillPush{
			Target: r.Address, Count: uint64(r.Count), Seed: r.Seed, Width: RandomFillWidth(r.Scale),
		}),
		Groups: [3]uint32{uint32(groups), 1, 1},
		Bytes:  r.Count * int64(r.Type.Size()),
	}
}
