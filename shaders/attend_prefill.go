package shaders

import "lorikeet/compute"

// AttendPrefill is causal attention of the rows of prompt chunks over the KV pages of their lanes, to which the rows'
// own keys and values went before:
//
//	out[i, h, :] = sum_{t <= position(i)} softmax_t(Scale * q[i, h] · K[t]) V[t, :]
type AttendPrefill struct {
	QKV         Rows    // the query heads come first
	Out         Rows    // Heads*HeadDim columns; without an address, which takes Half: not written
	Half        *Halves // Out once more, written; nil: not
	Items       uint64  // PrefillItem [Count]
	PageTable   uint64  // uint32 [lane][MaxPages]
	MaxPages    int
	Pool        uint64 // page p begins at Pool + p*PageBytes
	PageBytes   int64
	LayerOffset int64 // bytes from a page's begin to the layer's keys
	Heads       int
	KVHeads     int
	HeadDim     int
	Scale       float32
	Type        Type // of the pages
	Count       int
}

// QueryTile is the most rows of one PrefillItem. The pages' type is t.
func (k *Kernels) QueryTile(heads, kvHeads, headDim int, t Type) int {
	if spec, ok := k.attendCoopSpec(headDim, t); ok {
		return spec.rows() / (heads / kvHeads)
	}
	return attendPrefillRows
}

// AttendPrefillGroups is the grid for a number of items.
func (k *Kernels) AttendPrefillGroups(heads, kvHeads, headDim int, t Type, items int) [3]uint32 {
	if _, ok := k.attendCoopSpec(headDim, t); ok {
		return [3]uint32{count32(kvHeads), count32(items), 1}
	}
	return [3]uint32{count32(heads), count32(items), 1}
}

// Dispatch covers Count items. What it moves depends on their lengths, which only the device knows.
func (a AttendPrefill) Dispatch(k *Kernels) compute.Dispatch {
	mustLeave("attend_prefill", a.Out, a.Half)
	if spec, ok := k.attendCoopSpec(a.HeadDim, a.Type); ok {
		return a.coop(k, spec)
	}
	return compute.Dispatch{
		Label: "attend_prefill",
		Kernel: k.kernel("attend_prefill", attendPrefillSpec{
			Type: uint32(a.Type), HeadDim: count32(a.HeadDim), Floats: a.Out.Address != 0, Half: a.Half != nil,
		}),
		Push: pushBytes(attendPrefillPush{
			Qkv: a.QKV.Address, Outputs: a.Out.Address, Items: a.Items, PageTable: a.PageTable, Pool: a.Pool,
			QkvStride: count32(a.QKV.Stride), OutStride: count32(a.Out.Stride), MaxPages: count32(a.MaxPages),
			PageBytes: count32(int(a.PageBytes)), LayerOffset: count32(int(a.LayerOffset)),
			KvHeads: count32(a.KVHeads), Group: count32(a.Heads / a.KVHeads), Scale: a.Scale,
			Halves: a.Half.address(), HalfPanels: a.Half.panels(),
		}),
		Groups: k.AttendPrefillGroups(a.Heads, a.KVHeads, a.HeadDim, a.Type, a.Count),
	}
}
