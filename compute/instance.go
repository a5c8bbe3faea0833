package compute

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"lorikeet/compute/internal/native"
)

const (
	validationLayer = "VK_LAYER_KHRONOS_validation"
	installLoader   = "install the Vulkan loader (Debian, Ubuntu: libvulkan1) and a driver (the GPU vendor's, or mesa-vulkan-drivers)"
)

// ValidationInstalled reports whether the Khronos validation layer can be turned on.
func ValidationInstalled() bool { return native.HasLayer(validationLayer) }

var initBinding = sync.OnceValue(func() error {
	proc, why := native.Loader()
	if proc == nil {
		return fmt.Errorf("compute: open the Vulkan loader: %s; if it is missing, %s", why, installLoader)
	}
	vk.SetGetInstanceProcAddr(proc)
	return vk.Init()
})

// The binding keeps one table of entry points. They are the loader's, which serve every instance, so the first one fills it for all.
var entryPoints sync.Once

func openInstance(validation bool) (native.Instance, error) {
	if err := initBinding(); err != nil {
		return native.Instance{}, err
	}
	if validation && !ValidationInstalled() {
		return native.Instance{}, errors.New("compute: " + validationLayer + " is not installed (Debian, Ubuntu: vulkan-validationlayers)")
	}
	in, r := native.NewInstance(validation)
	if r != 0 {
		return native.Instance{}, check(r, "create a Vulkan instance")
	}
	var err error
	entryPoints.Do(func() { err = vk.InitInstance(handle[vk.Instance](in.Handle())) })
	return in, err
}

// handle and number convert between the binding's handles and plain numbers.
func handle[H any](n uint64) H { return *(*H)(unsafe.Pointer(&n)) }

func number[H any](h H) uint64 { return *(*uint64)(unsafe.Pointer(&h)) }
