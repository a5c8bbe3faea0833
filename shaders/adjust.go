package shaders

import "lorikeet/compute"

// Adjust changes logits before they are sampled: those that a row's adjustments name are divided by the factor where they are positive,
// multiplied with it elsewhere, and then something is added. It is how SGLang penalizes and biases tokens.
type Adjust struct {
	Logits      Rows   // read and written
	Rows        uint64 // AdjustRow [Count]; tokens are smaller than the vocabulary, and each is in a row's list once
	Adjustments uint64 // Adjustment, all rows' lists
	Count       int    // rows
}

// AdjustGroups is the grid for a number of rows.
func AdjustGroups(rows int) [3]uint32 { return [3]uint32{count32(rows), 1, 1} }

// Dispatch covers Count rows.
func (a Adjust) Dispatch(k *Kernels) compute.Dispatch {
	return compute.Dispatch{
		Label:  "adjust",
		Kernel: k.kernel("adjust", adjustSpec{}),
		Push:   pushBytes(adjustPush{Logits: a.Logits.Address, Rows: a.Rows, Adjustments: a.Adjustments, Stride: count32(a.Logits.Stride)}),
		Groups: AdjustGroups(a.Count),
	}
}
