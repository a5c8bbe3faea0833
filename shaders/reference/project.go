package reference

// Project returns y[t,n] = sum_k w[n,k] * x[row(t),k], row(t) being gather[t], or t where gather is nil. A norm goes
// before: see Normed.
func Project(w, x Matrix, gather []uint32) Matrix {
	tokens := x.Rows
	if gather != nil {
		tokens = len(gather)
	}
	y := NewMatrix(tokens, w.Rows)
	for t := range tokens {
		row := t
		if gather != nil {
			row = int(gather[t])
		}
		for n := range w.Rows {
			y.Row(t)[n] = dot(w.Row(n), x.Row(row))
		}
	}
	return y
}

func dot(a, b []float64) float64 {
	var sum float64
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}
