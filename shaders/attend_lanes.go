package shaders

import "lorikeet/compute"

// attendLanesMost is about how many outputs a lane can have: the shader is unrolled over them, and takes seconds to compile.
const attendLanesMost = 64

// attendLanesHeads is how many query heads of one key head a lane has at once.
func attendLanesHeads(group, headDim int) int {
	heads := group
	for group%heads != 0 || heads > 1 && heads*headDim > attendLanesMost {
		heads--
	}
	return heads
}

// lanes launches attend_lanes; grid: {query heads / heads at once, items, 1}.
func (a AttendDecode) lanes(k *Kernels) compute.Dispatch {
	group := a.Heads / a.KVHeads
	spec := attendLanesSpec{
		Type: uint32(a.Type), HeadDim: count32(a.HeadDim), Heads: count32(attendLanesHeads(group, a.HeadDim)),
	}
	return compute.Dispatch{
		Label:  "attend_decode",
		Kernel: k.kernel("attend_lanes", spec),
		Push: pushBytes(attendLanesPush{
			Qkv: a.QKV.Address, Outputs: a.Out.Address, Items: a.Items, PageTable: a.PageTable, Pool: a.Pool,
			QkvStride: count32(a.QKV.Stride), OutStride: count32(a.Out.Stride), MaxPages: count32(a.MaxPages),
			PageBytes: count32(int(a.PageBytes)), LayerOffset: count32(int(a.LayerOffset)),
			KvHeads: count32(a.KVHeads), Group: count32(group), Scale: a.Scale,
		}),
		Groups: k.AttendDecodeGroups(a.Heads, a.KVHeads, a.HeadDim, a.Count),
	}
}
