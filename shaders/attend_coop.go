package shaders

import "lorikeet/compute"

// attendTiles cut attention into workgroups, by the size of a head and the rows of the device's matrices; a device takes
// the first that fits it. The fields are constants of include/attend_coop.glsl. More rows read keys and values less
// often, more keys at a time wait less often for each other. CPUs have matrices of 8 rows; what counts there is how long
// the driver compiles.
var attendTiles = []struct {
	headDim, size         int
	each, subgroups, keys uint32
}{
	{headDim: 64, size: 16, each: 1, subgroups: 8, keys: 64},
	{headDim: 64, size: 16, each: 1, subgroups: 4, keys: 32},
	{headDim: 64, size: 8, each: 2, subgroups: 2, keys: 16},
	{headDim: 128, size: 16, each: 1, subgroups: 8, keys: 64},
	{headDim: 128, size: 16, each: 1, subgroups: 4, keys: 32},
	{headDim: 128, size: 8, each: 1, subgroups: 4, keys: 16},
}

// attendCoopSpec returns the constants of attend_coop on the device, or false where attend_prefill has to do it: in
// other styles, for heads of other sizes, and for types that the device has no cooperative matrices of.
func (k *Kernels) attendCoopSpec(headDim int, t Type) (attendCoopF16Spec, bool) {
	if k.style != Matrices {
		return attendCoopF16Spec{}, false
	}
	shape, ok := k.coopShapes[t]
	if !ok || k.info.SubgroupSize%shape.M != 0 || 2*shape.N%shape.K != 0 || headDim%shape.K != 0 {
		return attendCoopF16Spec{}, false
	}
	for _, tile := range attendTiles {
		if tile.headDim != headDim || tile.size != shape.M {
			continue
		}
		spec := attendCoopF16Spec{
			Type: uint32(t), HeadDim: count32(headDim),
			Threads: tile.subgroups * count32(k.info.SubgroupSize),
			SizeM:   count32(shape.M), SizeN: count32(shape.N), SizeK: count32(shape.K),
			Each: tile.each, Subgroups: tile.subgroups, Keys: tile.keys, Fragments: k.fragments(t, shape),
		}
		if spec.fits(k.info) {
			return spec, true
		}
	}
	return attendCoopF16Spec{}, false
}

// fits says whether the device can run workgroups of the tile.
func (s attendCoopF16Spec) fits(info compute.Info) bool {
	return s.shared() <= info.MaxSharedMemory && int(s.Threads) <= info.MaxWorkgroupInvocations &&
		s.Threads%(s.HeadDim/8) == 0 && s.Keys%(2*s.SizeN) == 0
}

// rows is the query rows of a tile: those of all heads of a group, of as many tokens as fit.
func (s attendCoopF16Spec) rows() int { return int(s.Subgroups * s.Each * s.SizeM) }

// shared is the bytes of shared memory that a workgroup takes.
func (s attendCoopF16Spec) shared() int {
	line := int(s.HeadDim)/8 + 1
	work := 2 * int(s.Keys) * line
	if !s.Fragments {
		work += int(s.Subgroups * s.SizeM * (s.SizeN/4 + 1))
	}
	return 16*max(work, s.rows()*line) + 8*s.rows() + 4*int(s.SizeN)
}

// coop launches attend_coop; grid: {key heads, items, 1}.
func (a AttendPrefill) coop(k *Kernels, spec attendCoopF16Spec) compute.Dispatch {
	spec.Floats, spec.Half = a.Out.Address != 0, a.Half != nil
	return compute.Dispatch{
		Label:  "attend_coop",
		Kernel: k.kernel("attend_coop_"+a.Type.String(), spec),
		Push: pushBytes(attendCoopF16Push{
			Qkv: a.QKV.Address, Outputs: a.Out.Address, Items: a.Items, PageTable: a.PageTable, Pool: a.Pool,
			QkvStride: count32(a.QKV.Stride), OutStride: count32(a.Out.Stride), MaxPages: count32(a.MaxPages),
			PageBytes: count32(int(a.PageBytes)), LayerOffset: count32(int(a.LayerOffset)),
			KvHeads: count32(a.KVHeads), Group: count32(a.Heads / a.KVHeads), Scale: a.Scale,
			Halves: a.Half.address(), HalfPanels: a.Half.panels(),
		}),
		Groups: k.AttendPrefillGroups(a.Heads, a.KVHeads, a.HeadDim, a.Type, a.Count),
	}
}
