package compute

import (
	"errors"
	"fmt"

	vk "github.com/vulkan-go/vulkan"

	"lorikeet/compute/internal/native"
)

var (
	// ErrDeviceLost says that the device stopped working: a hang, a fault, or its removal. It can only be closed; another Open may work.
	ErrDeviceLost = errors.New("device lost")
	// ErrOutOfMemory says that an allocation did not fit.
	ErrOutOfMemory = errors.New("out of memory")
)

// resultError is nil for success, else an error that wraps one of the above where it applies.
func resultError(r native.Result) error {
	switch vk.Result(r) {
	case vk.Success:
		return nil
	case vk.ErrorDeviceLost:
		return ErrDeviceLost
	case vk.ErrorOutOfDeviceMemory, vk.ErrorOutOfHostMemory:
		return ErrOutOfMemory
	case vk.ErrorInitializationFailed:
		return errors.New("the Vulkan driver failed to start")
	case vk.ErrorIncompatibleDriver:
		return errors.New("no usable Vulkan driver (install one: mesa-vulkan-drivers, or the GPU vendor's)")
	}
	return fmt.Errorf("vulkan result %d", r)
}

// check names what failed.
func check(r native.Result, format string, args ...any) error {
	if r == 0 {
		return nil
	}
	return fmt.Errorf("compute: "+format+": %w", append(args, resultError(r))...)
}
