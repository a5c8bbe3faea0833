package reference

import (
	"cmp"
	"math"
	"slices"
)

// Filter is what of a distribution a draw keeps.
type Filter struct {
	Temperature float64
	TopK        int     // 0: off
	TopP        float64 // 1: off
	MinP        float64 // 0: off
}

// LogSoftmax returns the log probabilities of the logits at a temperature.
func LogSoftmax(logits []float64, temperature float64) []float64 {
	highest := math.Inf(-1)
	for _, v := range logits {
		highest = max(highest, v/temperature)
	}
	var total float64
	for _, v := range logits {
		total += math.Exp(v/temperature - highest)
	}
	out := make([]float64, len(logits))
	for i, v := range logits {
		out[i] = v/temperature - highest - math.Log(total)
	}
	return out
}

// Kept tells which tokens stay: those with fewer than TopK tokens above them, at most TopP of probability above them,
// and at least MinP times the largest probability. Equals share one fate.
func (f Filter) Kept(logits []float64) []bool {
	logprobs := LogSoftmax(logits, f.Temperature)
	order := Likeliest(logits)
	kept := make([]bool, len(logits))
	above, probability := 0, 0.0
	for i := 0; i < len(order); {
		own := logits[order[i]]
		stays := (f.TopK == 0 || above < f.TopK) && (f.TopP >= 1 || probability <= f.TopP) &&
			math.Exp(logprobs[order[i]]) >= f.MinP*math.Exp(logprobs[order[0]])
		for ; i < len(order) && logits[order[i]] == own; i++ {
			kept[order[i]] = stays
			above++
			probability += math.Exp(logprobs[order[i]])
		}
	}
	return kept
}

// Likeliest returns the tokens by descending logit, the lowest of equals first.
func Likeliest(logits []float64) []int {
	order := make([]int, len(logits))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(logits[b], logits[a]) })
	return order
}

// Clock returns the exponentially distributed number that a draw with this seed at this position has for a token.
func Clock(seed uint64, position, token uint32) float64 {
	a := mixBits(uint32(seed) ^ 0x9e3779b9)
	b := mixBits(uint32(seed>>32) + a)
	c := mixBits(position ^ b)
	h := mixBits(mixBits(token+mixBits(a+c)) ^ mixBits(b^(c*0x9e3779b1)))
	return -math.Log1p(-(float64(h) + 0.5) / (1 << 32))
}

// mixBits is the finalizer of MurmurHash3.
func mixBits(h uint32) uint32 {
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	return h ^ h>>16
}

// Lead returns, per token, the negative logarithm of when its clock rings: the largest of the kept ones is drawn.
func (f Filter) Lead(logits []float64, seed uint64, position uint32) []float64 {
	lead := LogSoftmax(logits, f.Temperature)
	for i := range lead {
		lead[i] -= math.Log(Clock(seed, position, uint32(i)))
	}
	return lead
}
