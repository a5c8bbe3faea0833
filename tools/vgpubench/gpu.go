package main

import (
	"bytes"
	"embed"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/goki/vgpu/vgpu"
	vk "github.com/goki/vulkan"
)

//go:generate ../../build/shaderc/glslang -V --target-env vulkan1.2 -o shaders/count.spv shaders/count.comp
//go:generate ../../build/shaderc/glslang -V --target-env vulkan1.2 -o shaders/copy.spv shaders/copy.comp
//go:generate ../../build/shaderc/glslang -V --target-env vulkan1.2 -o shaders/axpy.spv shaders/axpy.comp
//go:generate ../../build/shaderc/glslang -V --target-env vulkan1.2 -o shaders/matvec.spv shaders/matvec.comp

//go:embed shaders/*.spv
var modules embed.FS

// columns of the matrix, a width that models have.
const columns = 4096

// How long a row is timed: samples of about so many seconds, beside which a submission is little, and so many of them.
const (
	sampleSeconds = 20e-3
	sampleCount   = 11
)

// gpu is a device with the three buffers that all kernels share, each with its mirror in host memory.
type gpu struct {
	device                 *vgpu.GPU
	system                 *vgpu.System
	source, target, vector *vgpu.Val
}

// open takes a device and gives its buffers; vgpu panics where Vulkan refuses.
func open(mib int) (*gpu, error) {
	if err := vgpu.InitNoDisplay(); err != nil {
		return nil, err
	}
	g := &gpu{device: vgpu.NewComputeGPU()}
	if err := g.device.Config("vgpubench"); err != nil {
		return nil, err
	}
	// vgpu keeps all buffers in one, where offsets are of 32 bits.
	if most := min(int(g.device.GPUProps.Limits.MaxStorageBufferRange>>20), 2047); mib < 1 || mib > most {
		return nil, fmt.Errorf("-mib is %d; %s binds 1 to %d MiB", mib, g.name(), most)
	}
	g.system = g.device.NewComputeSystem("vgpubench")
	for _, name := range []string{"count", "copy", "axpy", "matvec"} {
		if g.system.NewComputePipelineEmbed(name, modules, "shaders/"+name+".spv") == nil {
			return nil, fmt.Errorf("no module %s", name)
		}
	}
	vars := g.system.Vars()
	set := vars.AddSet()
	for _, v := range []struct {
		name  string
		bytes int
	}{{"Source", mib << 20}, {"Target", mib << 20}, {"Vector", 4 * columns}} {
		set.Add(v.name, vgpu.Float32Vec4, v.bytes/16, vgpu.Storage, vgpu.ComputeShader)
	}
	set.ConfigVals(1)
	g.system.Config()
	for name, val := range map[string]**vgpu.Val{"Source": &g.source, "Target": &g.target, "Vector": &g.vector} {
		_, v, err := vars.ValByIdxTry(0, name, 0)
		if err != nil {
			return nil, err
		}
		if err := vars.BindDynValIdx(0, name, 0); err != nil {
			return nil, err
		}
		*val = v
	}
	return g, nil
}

// close leaves out vgpu.Terminate, which is for displays.
func (g *gpu) close() {
	g.system.Destroy()
	g.device.Destroy()
}

func (g *gpu) name() string {
	name, _, _ := bytes.Cut(g.device.GPUProps.DeviceName[:], []byte{0})
	return string(name)
}

func (g *gpu) driver() string {
	return fmt.Sprintf("driver version %#x, by vgpu", g.device.GPUProps.DriverVersion)
}

// fill gives all buffers new random values from -1 to 1.
func (g *gpu) fill() {
	for _, v := range []*vgpu.Val{g.source, g.target, g.vector} {
		list := v.Floats32()
		for i := range list {
			list[i] = 2*rand.Float32() - 1
		}
		v.SetMod()
	}
	g.system.Mem.SyncToGPU()
}

// download returns what the target holds.
func (g *gpu) download() []float32 {
	g.system.Mem.SyncValFmGPU(g.target)
	return g.target.Floats32()
}

// once dispatches a work and returns what it left.
func (g *gpu) once(w work) []float32 {
	g.record(w, 1)
	g.submit()
	return g.download()
}

// record makes the system's command buffer run a work so often, each after the one before. vgpu has no barriers, so they
// are the binding's.
func (g *gpu) record(w work, times int) {
	barrier := []vk.MemoryBarrier{{
		SType:         vk.StructureTypeMemoryBarrier,
		SrcAccessMask: vk.AccessFlags(vk.AccessShaderWriteBit),
		DstAccessMask: vk.AccessFlags(vk.AccessShaderReadBit | vk.AccessShaderWriteBit),
	}}
	stage := vk.PipelineStageFlags(vk.PipelineStageComputeShaderBit)
	g.system.ComputeResetBindVars(0)
	for range times {
		g.system.PipelineMap[w.shader].ComputeCommand(w.groups, 1, 1)
		vk.CmdPipelineBarrier(g.system.CmdPool.Buff, stage, stage, 0, 1, barrier, 0, nil, 0, nil)
	}
	g.system.CmdPool.EndCmd()
}

// submit runs what was recorded, waits for it and returns the seconds.
func (g *gpu) submit() float64 {
	began := time.Now()
	g.system.CmdPool.SubmitWait(&g.system.Device)
	return time.Since(began).Seconds()
}

// time returns the seconds of one dispatch, several samples. vgpu has no clock of the device, so a sample is a submission
// of as many dispatches as make its own time small. The first one warms up.
func (g *gpu) time(w work) (samples []float64) {
	g.record(w, 1)
	g.submit()
	times := max(1, int(math.Ceil(sampleSeconds/g.submit())))
	g.record(w, times)
	g.submit()
	for range sampleCount {
		samples = append(samples, g.submit()/float64(times))
	}
	return samples
}

// launches are the times of almost nothing: recording, submitting and awaiting a dispatch as vgpu has it, the same
// recorded before, and a dispatch among a thousand that wait for each other.
func (g *gpu) launches() ([]result, error) {
	const (
		rounds = 200
		stages = 1000
	)
	count := work{shader: "count", groups: 1}
	g.target.Floats32()[0] = 0
	g.target.SetMod()
	g.system.Mem.SyncToGPU()
	var whole, recorded, staged []float64
	for range rounds {
		began := time.Now()
		g.system.ComputeResetBindVars(0)
		g.system.PipelineMap[count.shader].ComputeCommand(1, 1, 1)
		g.system.ComputeSubmitWait()
		whole = append(whole, time.Since(began).Seconds())
	}
	g.record(count, 1)
	for range rounds {
		recorded = append(recorded, g.submit())
	}
	g.record(count, stages)
	for range sampleCount {
		staged = append(staged, g.submit()/stages)
	}
	if got := g.download()[0]; got != 2*rounds+sampleCount*stages {
		return nil, fmt.Errorf("%d dispatches counted to %g", 2*rounds+sampleCount*stages, got)
	}
	return []result{
		newResult("round_trip", whole, 0, 0), newResult("round_trip/recorded", recorded, 0, 0), newResult("stage", staged, 0, 0),
	}, nil
}
