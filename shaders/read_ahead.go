package shaders

import "lorikeet/compute"

// ReadAhead reads memory beside a stage that leaves the bus to it idle, so that the next one finds it in the device's cache:
//
//	Sums[i] = exclusive or of the words of the i-th stretch of Source
//
// Nobody needs the sums; they are what makes the loads happen.
type ReadAhead struct {
	Source uint64
	Bytes  int64  // a multiple of 16
	Sums   uint64 // uint32 [ReadAheadSums(Bytes)], written
}

// ReadAheadSums is how many stretches so many bytes have.
func ReadAheadSums(bytes int64) int { return ceilDiv(int(bytes/16), readAheadStretch) }

const readAheadStretch = readAheadThreads * readAheadLoads

// Dispatch returns the launch.
func (r ReadAhead) Dispatch(k *Kernels) compute.Dispatch {
	return compute.Dispatch{
		Label:  "read_ahead",
		Kernel: k.kernel("read_ahead", readAheadSpec{}),
		Push:   pushBytes(readAheadPush{Source: r.Source, Sums: r.Sums, Chunks: count32(int(r.Bytes / 16))}),
		Groups: [3]uint32{count32(ReadAheadSums(r.Bytes)), 1, 1},
		Bytes:  r.Bytes,
	}
}

// mostAhead is how much is read ahead: well under what the caches of the GPUs it was measured on keep, which are of 50 MB and more.
const mostAhead = 24 << 20

// Ahead is how many bytes of a projection's weights are worth reading beside the decode attention of so many rows, 0 where none are:
// with more rows keys and values take the bus, and a CPU has nothing idle.
func (k *Kernels) Ahead(p Project) int64 {
	if k.info.Type == compute.CPU || !k.Panels(p.W.Type) || p.Tokens > PanelRows {
		return 0
	}
	return min(mostAhead, PanelsBytes(p.Out, p.In))
}
