package compute

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"

	vk "github.com/vulkan-go/vulkan"

	"lorikeet/compute/internal/native"
)

// Kernel is a compute shader with its specialization constants set.
type Kernel struct {
	dev      *Device
	name     string
	done     chan struct{} // closed when the two below are set
	pipeline uint64
	err      error
}

// NewKernel starts to compile entry point main of a SPIR-V module and returns at once; Ready and Record wait for it.
// spec[i] is the value of constant_id i. The kernel lives as long as the device.
func (d *Device) NewKernel(name string, spirv []byte, spec []uint32) *Kernel {
	k := &Kernel{dev: d, name: name, done: make(chan struct{})}
	d.mu.Lock()
	d.kernels = append(d.kernels, k)
	d.mu.Unlock()
	d.compiling.Add(1)
	go func() {
		defer d.compiling.Done()
		defer close(k.done)
		d.compilers <- struct{}{}
		defer func() { <-d.compilers }()
		if d.closing.Load() {
			k.err = fmt.Errorf("compute: compile %q: the device is closed", name)
			return
		}
		k.pipeline, k.err = d.compile(spirv, spec)
		if k.err != nil {
			k.err = fmt.Errorf("compute: compile %q: %w", name, k.err)
		}
	}()
	return k
}

// Compiled is how many of the kernels asked for so far are compiled, or have failed to.
func (d *Device) Compiled() (done, all int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.kernels {
		select {
		case <-k.done:
			done++
		default:
		}
	}
	return done, len(d.kernels)
}

// Name is the name given to NewKernel.
func (k *Kernel) Name() string { return k.name }

// Ready waits until the kernel is compiled and returns why it could not be.
func (k *Kernel) Ready() error {
	<-k.done
	return k.err
}

func (k *Kernel) destroy() {
	<-k.done
	if k.pipeline != 0 {
		k.dev.native.DestroyPipeline(k.pipeline)
	}
}

func (d *Device) compile(spirv []byte, spec []uint32) (uint64, error) {
	code, err := words(spirv)
	if err != nil {
		return 0, err
	}
	// The binding puts the address of the code into C memory.
	var pin runtime.Pinner
	pin.Pin(&code[0])
	defer pin.Unpin()
	info := vk.ShaderModuleCreateInfo{SType: vk.StructureTypeShaderModuleCreateInfo, CodeSize: uint(len(spirv)), PCode: code}
	defer info.Free()
	var module vk.ShaderModule
	if r := vk.CreateShaderModule(d.handle, &info, nil, &module); r != vk.Success {
		return 0, resultError(native.Result(r))
	}
	defer vk.DestroyShaderModule(d.handle, module, nil)
	pipeline, r := d.native.NewPipeline(number(module), spec, d.subgroup)
	return pipeline, resultError(r)
}

// words reads a SPIR-V module, which is a list of 32-bit words.
func words(spirv []byte) ([]uint32, error) {
	const magic = 0x07230203
	if len(spirv) < 20 || len(spirv)%4 != 0 || binary.LittleEndian.Uint32(spirv) != magic {
		return nil, errors.New("not a SPIR-V module")
	}
	code := make([]uint32, len(spirv)/4)
	for i := range code {
		code[i] = binary.LittleEndian.Uint32(spirv[4*i:])
	}
	return code, nil
}
