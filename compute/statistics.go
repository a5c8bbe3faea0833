package compute

import "lorikeet/compute/internal/native"

// Statistic is something that a driver says of a kernel's machine code, in its own words: NVIDIA's "Register Count" (of an
// invocation), "Binary Size" and "Stack Size" (bytes), others'.
type Statistic = native.Statistic

// KernelStatistics is what the driver says of a kernel.
type KernelStatistics struct {
	Kernel     string
	Statistics []Statistic
}

// KernelStatistics waits for the kernels that were made so far and returns what the driver says of each, in their order: nothing of
// kernels that do not compile, nor where the device was opened without Options.Statistics or lacks
// VK_KHR_pipeline_executable_properties.
func (d *Device) KernelStatistics() []KernelStatistics {
	d.mu.Lock()
	kernels := d.kernels
	d.mu.Unlock()
	var list []KernelStatistics
	for _, k := range kernels {
		if k.Ready() != nil {
			continue
		}
		if s := d.native.PipelineStatistics(k.pipeline); len(s) > 0 {
			list = append(list, KernelStatistics{k.name, s})
		}
	}
	return list
}
