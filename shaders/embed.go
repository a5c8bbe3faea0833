package shaders

import "lorikeet/compute"

// FromLast marks an entry of Embed.Tokens whose low bits are a lane of LastTokens instead of a token id.
const FromLast = embedFromLast

// Embed looks tokens up: X[t,:] = Table[id(t),:], and leaves the partial sums of squares of each row.
type Embed struct {
	Table      Matrix // [vocabulary][Width]
	Tokens     uint64 // uint32 [Count]: an id, or FromLast | lane
	LastTokens uint64 // uint32 [lane]
	X          Rows   // written, pad too
	Squares    uint64 // fp32 [Count][ceil(Width/SquaresBlock)], written
	Width      int
	Count      int // rows
}

// EmbedGroups is the grid for so many rows.
func EmbedGroups(width, count int) [3]uint32 {
	return [3]uint32{count32(ceilDiv(width, SquaresBlock)), count32(count), 1}
}

// Dispatch returns the launch.
func (e Embed) Dispatch(k *Kernels) compute.Dispatch {
	return compute.Dispatch{
		Label:  "embed",
		Kernel: k.kernel("embed", embedSpec{Type: uint32(e.Table.Type)}),
		Push: pushBytes(embedPush{
			Table: e.Table.Address, Tokens: e.Tokens, LastTokens: e.LastTokens, X: e.X.Address, Squares: e.Squares,
			TableStride: count32(e.Table.Stride), XStride: count32(e.X.Stride), Width: count32(e.Width),
		}),
		Groups: EmbedGroups(e.Width, e.Count),
		Bytes:  int64(e.Count) * int64(e.Width) * int64(e.Table.Type.Size()+4),
		Flops:  2 * int64(e.Count) * int64(e.Width),
	}
}
