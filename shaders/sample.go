package shaders

import "lorikeet/compute"

const (
	// MaxTop is the most entries of a row's list of most likely tokens.
	MaxTop = sampleMaxTop
	// SampleToken is the target of a row that wants a token sampled.
	SampleToken = sampleToken
)

// Sample turns rows of logits into tokens. With x_i = (logit_i - max) / temperature and p = softmax(x), a row keeps
// token i if fewer than TopK tokens are more likely, those more likely have at most TopP of the probability, and
// p_i >= MinP * max p; equal logits share one fate. It takes the kept token with the smallest E_i / p_i, E_i drawn from
// the exponential distribution by a hash of (seed, position, i): a draw from the kept distribution that depends on
// nothing else. At temperature 0 it takes the most likely token, the lowest of equals. NaN logits are never taken.
//
// Log probabilities are log softmax(x) over all tokens, at temperature 1 for greedy rows and for rows with a target,
// and NaN when the row has a NaN or plus infinity.
type Sample struct {
	Logits     Rows
	Vocab      int
	Count      int    // rows
	Params     uint64 // SampleRow [row]
	Ids        uint64 // uint32, all rows' lists one after another
	Results    uint64 // SampleResult [row]
	TopOut     uint64 // TopEntry [row][MaxTop], the first TopN of each row written
	IdsOut     uint64 // fp32 log probabilities, laid out like Ids
	LastTokens uint64 // uint32 [lane], set by rows without a target
}

// SampleGroups is the grid for a number of rows.
func SampleGroups(rows int) [3]uint32 { return [3]uint32{count32(rows), 1, 1} }

// Dispatch covers Count rows.
func (s Sample) Dispatch(k *Kernels) compute.Dispatch {
	spec := sampleDefaults
	if k.style == Lanes {
		spec.Threads = 256 // fewer coroutines for each barrier to visit; still fewer would be more code to compile
	}
	return compute.Dispatch{
		Label:  "sample",
		Kernel: k.kernel("sample", spec),
		Push: pushBytes(samplePush{
			Logits: s.Logits.Address, Params: s.Params, Ids: s.Ids, Results: s.Results,
			TopOut: s.TopOut, IdsOut: s.IdsOut, LastTokens: s.LastTokens,
			Stride: count32(s.Logits.Stride), Vocab: count32(s.Vocab),
		}),
		Groups: SampleGroups(s.Count),
		Bytes:  4 * int64(s.Count) * int64(s.Vocab),
	}
}
