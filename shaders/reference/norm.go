package reference

import "math"

// Squares returns [row][part]: the sum of squares of each block of columns.
func Squares(x Matrix, block int) Matrix {
	out := NewMatrix(x.Rows, (x.Columns+block-1)/block)
	for t := range x.Rows {
		for k, v := range x.Row(t) {
			out.Row(t)[k/block] += v * v
		}
	}
	return out
}

// Normed returns gamma[k] * x[t,k] / sqrt(mean_k x[t,k]² + eps).
func Normed(x Matrix, gamma []float64, eps float64) Matrix {
	out := NewMatrix(x.Rows, x.Columns)
	for t, inverse := range Inverses(x, eps) {
		for k, v := range x.Row(t) {
			out.Row(t)[k] = gamma[k] * v * inverse
		}
	}
	return out
}

// Inverses returns 1 / sqrt(mean_k x[t,k]² + eps) of each row.
func Inverses(x Matrix, eps float64) []float64 {
	out := make([]float64, x.Rows)
	for t := range x.Rows {
		var sum float64
		for _, v := range x.Row(t) {
			sum += v * v
		}
		out[t] = 1 / math.Sqrt(sum/float64(x.Columns)+eps)
	}
	return out
}
