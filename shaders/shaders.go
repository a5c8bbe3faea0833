// Package shaders holds the compute kernels of the forward pass and how to launch them.
//
// One stem names a kernel everywhere: embed.comp is the shader, embed.go its formula, shapes and grid,
// reference/embed.go the same in float64, and a row of the case table in shaders/cases runs the two against each other.
//
// Conventions shared by all of them:
//   - weights are row-major in the checkpoint's type, rows padded with zeros to a multiple of 8 elements, 256-byte aligned;
//   - activations are fp32, rows padded to a multiple of 8, pad columns zero; who writes a row writes its pad;
//   - every buffer is an address in one push-constant block;
//   - reductions run in a fixed order: the same batch gives the same bits.
package shaders

import (
	"embed"
	"fmt"
	"math"
	"sync"
	"unsafe"

	"lorikeet/compute"
)

//go:embed spv/*.spv
var modules embed.FS

// Type is the element type of weights and KV pages.
type Type uint32

// The types the kernels read and write, by the value of their TYPE constant.
const (
	F32 Type = iota
	F16
	BF16
)

// Size is the bytes of one element.
func (t Type) Size() int {
	if t == F32 {
		return 4
	}
	return 2
}

func (t Type) String() string {
	switch t {
	case F32:
		return "f32"
	case F16:
		return "f16"
	case BF16:
		return "bf16"
	}
	return fmt.Sprintf("Type(%d)", uint32(t))
}

// Matrix is row-major weights.
type Matrix struct {
	Address uint64
	Stride  int // elements between rows
	Type    Type
	Panels  bool // not row by row but in panels (panels.go), which have no stride
}

// Rows is fp32 activations, one row per token.
type Rows struct {
	Address uint64
	Stride  int // elements between rows
}

// Norm is an RMS norm folded into the kernel that reads its input:
// normed(t, k) = Weight[k] * x[t, k] / sqrt(sum_p Squares[t, p] / Width + Eps).
type Norm struct {
	Weight  uint64 // gamma, in the matrix' type, padded with zeros to a multiple of 8; halves have it in them already
	Squares uint64 // fp32 [t][Parts]
	Parts   int
	Width   int
	Eps     float32
}

// SiteDelta is where a kernel finds the low-rank products to expand into its own columns:
// delta(t, n) = scale * sum_r B[r, n] * Hidden[t, s*MaxRank + r], s counting the kernel's sites from 0.
type SiteDelta struct {
	Table        uint64 // AdapterSite [slot][SitesPerSlot]
	SitesPerSlot int
	FirstSite    int  // table column of the kernel's site 0
	Hidden       Rows // what Shrink wrote
	MaxRank      int
}

// Style is how kernels divide work between the lanes of a device.
type Style int

const (
	// Groups is for GPUs: neighbouring lanes read neighbouring memory, and sums fold across lanes.
	Groups Style = iota
	// Lanes is for CPUs, where a load is a loop over the lanes: each lane has results of its own.
	Lanes
	// Matrices is Groups with products by cooperative matrices, where the device multiplies the weights' type so.
	Matrices
)

func (s Style) String() string { return [...]string{"groups", "lanes", "matrices"}[s] }

// Styles are those in which the device can run the kernels of a variant (see compute.Info.Variants), the fastest
// first. None means that the variant does not run on it.
func Styles(info compute.Info, variant string) []Style {
	for _, v := range info.Variants() {
		if v.Name != variant || !v.OK {
			continue
		}
		switch {
		case variant == "coop":
			return []Style{Matrices}
		case variant == "fma" && info.Type == compute.CPU:
			return []Style{Lanes, Groups}
		case variant == "fma":
			return []Style{Groups, Lanes}
		}
	}
	return nil
}

// Kernels makes each (stem, specialization) once per device. It is safe for concurrent use.
type Kernels struct {
	device *compute.Device
	info   compute.Info
	style  Style
	mu     sync.Mutex
	made   map[string]*compute.Kernel
	// coopShapes are the products by cooperative matrices that panels are made for.
	coopShapes map[Type]compute.CoopShape
	// lanesHold is what fragments has found out.
	lanesHold map[Type]bool
}

// New returns the kernels of a device in the style that suits it; each is compiled when first asked for.
func New(device *compute.Device) *Kernels {
	info := device.Info()
	if coop := Styles(info, "coop"); len(coop) > 0 && info.Type != compute.CPU {
		return NewStyle(device, coop[0])
	}
	if info.Type == compute.CPU {
		return NewStyle(device, Lanes)
	}
	return NewStyle(device, Groups)
}

// NewStyle returns the kernels of a device in a given style. All run everywhere; Matrices falls back to Groups where
// the device has no such product.
func NewStyle(device *compute.Device, style Style) *Kernels {
	info := device.Info()
	return &Kernels{
		device: device, info: info, style: style,
		made: map[string]*compute.Kernel{}, coopShapes: coopShapes(info), lanesHold: map[Type]bool{},
	}
}

// Style is what the kernels were made with.
func (k *Kernels) Style() Style { return k.style }

// constants is a generated struct of specialization constants.
type constants interface{ constants() []uint32 }

// kernel returns the stem's kernel with the given specialization.
func (k *Kernels) kernel(stem string, spec constants) *compute.Kernel {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.locked(stem, spec.constants())
}

// locked is kernel while k.mu is held.
func (k *Kernels) locked(stem string, words []uint32) *compute.Kernel {
	key := fmt.Sprint(stem, words)
	if kernel, ok := k.made[key]; ok {
		return kernel
	}
	module, err := modules.ReadFile("spv/" + stem + ".spv")
	if err != nil {
		panic(fmt.Sprintf("shaders: no module for %q: %v", stem, err))
	}
	kernel := k.device.NewKernel(key, module, words)
	k.made[key] = kernel
	return kernel
}

// pushBytes is the bytes of a generated push struct, whose layout the tests hold against the module.
func pushBytes[P any](push P) []byte {
	out := make([]byte, unsafe.Sizeof(push))
	copy(out, unsafe.Slice((*byte)(unsafe.Pointer(&push)), len(out)))
	return out
}

func boolWord(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// count32 checks a size the shaders hold in 32 bits.
func count32(n int) uint32 {
	if n < 0 || int64(n) > math.MaxUint32 {
		panic(fmt.Sprintf("shaders: %d does not fit the shaders' 32 bits", n))
	}
	return uint32(n)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
