// Package compute runs compute shaders through Vulkan. It knows bytes, kernels and programs; it knows nothing of tensors or models.
//
// Memory is reached by 64-bit device addresses: a kernel's whole interface is one block of at most 128 bytes of push constants
// that holds addresses and numbers. There are no descriptor sets. A [Program] is recorded once, as a list of stages, and replayed; what
// changes from run to run lies in buffers that the host writes through mapped memory.
//
// Submit, Wait and Done are one call into C each and allocate nothing. Record, Submit and Wait belong to one goroutine, the owner of
// the device; NewKernel, Allocate, Release, Upload, Download, Fill and the methods of Arena may be called from any.
package compute
