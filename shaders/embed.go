package shaders

import "lorikeet/compute"

// FromLast marks an entry of Embed.Tokens whose low bits are a lane of LastTokens instead of a token id.
const FromLast = embedFromLast

// Embed looks tokens up,
//
//	X[t,n] = Table[id(t),n] + scale * sum_r B[r,n] * A[r,id(t)]
//
// with A [rank][vocabulary] and B [rank][Width] of the row's adapter, and leaves the partial sums of squares of each row.
type Embed struct {
	Table      Matrix  // [vocabulary][Width]
	Tokens     uint64  // uint32 [Count]: an id, or FromLast | lane
	LastTokens uint64  // uint32 [lane]
	X          Rows    // written, pad too
	Squares    uint64  // fp32 [Count][ceil(Width/SquaresUnit)], or with Half SquaresQuad, written
	Half       *Halves // X once more, times gamma, written; nil: not
	Width      int
	Lora       *EmbedDelta // nil without adapters
	Flow       *Flow       // of the stages behind, begun; nil: none
	Count      int         // rows
}

// EmbedDelta is where Embed finds the adapters of its rows.
type EmbedDelta struct {
	Slots        uint64 // uint32 [row]: the adapter's slot, or BaseSlot
	Table        uint64 // AdapterSite [slot][SitesPerSlot]
	SitesPerSlot int
	Site         int // table column
	Vocabulary   int // columns of A
}

// EmbedGroups is the grid for so many rows.
func EmbedGroups(width, count int) [3]uint32 {
	return [3]uint32{count32(ceilDiv(width, embedColumns)), count32(count), 1}
}

// Dispatch returns the launch. Bytes and flops leave the adapters out.
func (e Embed) Dispatch(k *Kernels) compute.Dispatch {
	push := embedPush{
		Table: e.Table.Address, Tokens: e.Tokens, LastTokens: e.LastTokens, X: e.X.Address, Squares: e.Squares,
		TableStride: count32(e.Table.Stride), XStride: count32(e.X.Stride), Width: count32(e.Width),
		Halves: e.Half.address(), Gamma: e.Half.gamma(), HalfPanels: e.Half.panels(),
	}
	if f := e.Flow; f != nil {
		push.Flow, push.Owed, push.FlowStages, push.FlowKinds = f.Counters, f.Owed, count32(f.Stages), count32(f.Kinds)
	}
	if e.Lora != nil {
		push.Slots, push.Sites, push.Vocabulary = e.Lora.Slots, e.Lora.Table, count32(e.Lora.Vocabulary)
		push.SitesPerSlot, push.Site = count32(e.Lora.SitesPerSlot), count32(e.Lora.Site)
	}
	return compute.Dispatch{
		Label:  "embed",
		Kernel: k.kernel("embed", embedSpec{Type: uint32(e.Table.Type), Lora: e.Lora != nil, Half: e.Half != nil}),
		Push:   pushBytes(push),
		Groups: EmbedGroups(e.Width, e.Count),
		Bytes:  int64(e.Count) * int64(e.Width) * int64(e.Table.Type.Size()+4),
		Flops:  2 * int64(e.Count) * int64(e.Width),
	}
}
