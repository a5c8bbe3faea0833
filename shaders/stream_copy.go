package shaders

import "lorikeet/compute"

// StreamCopy copies Bytes bytes, a multiple of sixteen and less than 64 GiB, from Source to Target. It serves as the
// yardstick of a device's memory bandwidth: nothing moves bytes with less arithmetic.
type StreamCopy struct {
	Source, Target uint64
	Bytes          int64
}

// Dispatch returns the launch; its Bytes count both directions.
func (s StreamCopy) Dispatch(k *Kernels) compute.Dispatch {
	blocks := int(s.Bytes / 16)
	return compute.Dispatch{
		Label:  "stream_copy",
		Kernel: k.kernel("stream_copy", streamCopySpec{}),
		Push:   pushBytes(streamCopyPush{Source: s.Source, Target: s.Target, Blocks: count32(blocks)}),
		Groups: [3]uint32{uint32(min(ceilDiv(blocks, 256), 65535)), 1, 1},
		Bytes:  2 * s.Bytes,
	}
}
