package shaders

import "lorikeet/compute"

// GatherRows copies some rows of a matrix into another one,
//
//	To[t] = From[row(t)]
//
// where row(t) is the t-th entry of Gather. The matrices are either fp32 rows of one stride, pad included, or halves of one width and type, and
// do not overlap.
type GatherRows struct {
	From, To         Rows    // without FromHalf; From has every row that Gather names, To Count
	FromHalf, ToHalf *Halves // the same
	Gather           uint64  // uint32 [Count]
	Count            int
}

// Dispatch returns the launch.
func (g GatherRows) Dispatch(k *Kernels) compute.Dispatch {
	push := gatherRowsPush{From: g.From.Address, To: g.To.Address, Gather: g.Gather, Chunks: count32(g.From.Stride * 4 / chunkBytes)}
	if g.FromHalf != nil {
		push.From, push.To = g.FromHalf.Address, g.ToHalf.Address
		push.Chunks = g.FromHalf.panels() * PanelColumns * 2 / chunkBytes
	}
	return compute.Dispatch{
		Label:  "gather_rows",
		Kernel: k.kernel("gather_rows", gatherRowsSpec{Panels: g.FromHalf != nil}),
		Push:   pushBytes(push),
		Groups: [3]uint32{count32(ceilDiv(int(push.Chunks), gatherRowsChunks)), count32(g.Count), 1},
		Bytes:  2 * chunkBytes * int64(g.Count) * int64(push.Chunks),
	}
}

// chunkBytes is what an invocation copies.
const chunkBytes = 16
