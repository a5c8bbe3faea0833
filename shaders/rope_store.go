package shaders

import "lorikeet/compute"

// RopeStore finishes the output of the qkv projection: adds the LoRA deltas (sites q, k, v from Lora.FirstSite), turns q
// and k by RoPE over the column pairs (i, i+HeadDim/2), writes q back in place and stores k and v, rounded to the type,
// in the pages of the row's lane.
type RopeStore struct {
	QKV         Rows   // [t]: Heads query heads, KVHeads key heads, KVHeads value heads
	Positions   uint64 // uint32 [t]
	Lanes       uint64 // uint32 [t]: row of PageTable
	Tiles       uint64 // RowTile [TileCount]; rows outside every tile are left alone
	PageTable   uint64 // uint32 [lane][MaxPages]: page numbers
	MaxPages    int
	Pool        uint64 // address of page 0
	PageBytes   int64
	LayerOffset int64 // bytes from a page's begin to this layer: K [KVHeads][PageTokens][HeadDim], then V the same
	Heads       int
	KVHeads     int
	HeadDim     int    // a multiple of 8, at most 256
	Rope        uint64 // fp32 [position][HeadDim]: HeadDim/2 cosines, then as many sines
	Lora        *SiteDelta
	Type        Type // of the pages and the adapters
	Count       int  // rows, for the estimate of the work
	TileCount   int  // tiles of the grid; an Indirect decides over it
}

// RopeStoreGroups is the grid for so many tiles.
func RopeStoreGroups(heads, kvHeads, headDim, tiles int) [3]uint32 {
	return [3]uint32{count32((heads + 2*kvHeads) / headsTogether(heads, kvHeads, headDim)), count32(tiles), tileQuads}
}

// headsTogether is how many heads a workgroup ends, as many of each kind as leave none over: for each of four rows it has 32 invocations,
// of which a head of 128 columns keeps half busy.
func headsTogether(heads, kvHeads, headDim int) int {
	n := 1
	for heads%(2*n) == 0 && kvHeads%(2*n) == 0 && 2*n*headDim <= 256 {
		n *= 2
	}
	return n
}

// Dispatch returns the launch. Bytes and flops leave the adapters out.
func (r RopeStore) Dispatch(k *Kernels) compute.Dispatch {
	push := ropeStorePush{
		Qkv: r.QKV.Address, Positions: r.Positions, Lanes: r.Lanes, Tiles: r.Tiles, PageTable: r.PageTable, Pool: r.Pool,
		Rope: r.Rope, QkvStride: count32(r.QKV.Stride), MaxPages: count32(r.MaxPages), PageBytes: count32(int(r.PageBytes)),
		LayerOffset: count32(int(r.LayerOffset)), Heads: count32(r.Heads), KvHeads: count32(r.KVHeads),
	}
	if r.Lora != nil {
		push.Table, push.Hidden = r.Lora.Table, r.Lora.Hidden.Address
		push.SitesPerSlot, push.FirstSite = count32(r.Lora.SitesPerSlot), count32(r.Lora.FirstSite)
		push.HiddenStride, push.MaxRank = count32(r.Lora.Hidden.Stride), count32(r.Lora.MaxRank)
	}
	columns := int64(r.Count) * int64(r.HeadDim)
	return compute.Dispatch{
		Label: "rope_store",
		Kernel: k.kernel("rope_store", ropeStoreSpec{
			Type: uint32(r.Type), HeadDim: count32(r.HeadDim), Lora: r.Lora != nil,
			Together: count32(headsTogether(r.Heads, r.KVHeads, r.HeadDim)),
		}),
		Push:   pushBytes(push),
		Groups: RopeStoreGroups(r.Heads, r.KVHeads, r.HeadDim, r.TileCount),
		Bytes:  columns * int64(8*r.Heads+2*r.KVHeads*(4+r.Type.Size())),
		Flops:  columns * 3 * int64(r.Heads+r.KVHeads),
	}
}

func (r RopeStore) ending() (kind uint32, e Epilogue) {
	e = Epilogue{
		Positions: r.Positions, Lanes: r.Lanes, PageTable: r.PageTable, MaxPages: count32(r.MaxPages),
		Pool: r.Pool, PageBytes: count32(int(r.PageBytes)), LayerOffset: count32(int(r.LayerOffset)),
		Rope: r.Rope, Heads: count32(r.Heads), KvHeads: count32(r.KVHeads),
	}
	e.setDelta(r.Lora)
	return EndRopeStore, e
}
