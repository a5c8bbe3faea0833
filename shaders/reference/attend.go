package reference

import "math"

// Attend returns sum_t softmax_t(scale * q·keys[t]) values[t] of one query.
func Attend(q []float64, keys, values [][]float64, scale float64) []float64 {
	scores := make([]float64, len(keys))
	highest := math.Inf(-1)
	for t, key := range keys {
		scores[t] = scale * dot(q, key)
		highest = max(highest, scores[t])
	}
	out := make([]float64, len(q))
	var total float64
	for t, value := range values {
		e := math.Exp(scores[t] - highest)
		total += e
		for d, v := range value {
			out[d] += e * v
		}
	}
	for d := range out {
		out[d] /= total
	}
	return out
}
