package reference

// Adapter is one low-rank pair: A is [rank][in], B is stored transposed, [rank][out]. The zero value adds nothing.
type Adapter struct {
	A, B  Matrix
	Scale float64
}

// Shrink returns A·x for one row.
func (a Adapter) Shrink(x []float64) []float64 {
	hidden := make([]float64, a.A.Rows)
	for r := range hidden {
		for k, v := range a.A.Row(r) {
			hidden[r] += v * x[k]
		}
	}
	return hidden
}

// Expand returns scale * B·hidden at column n.
func (a Adapter) Expand(hidden []float64, n int) float64 {
	var sum float64
	for r := range a.B.Rows {
		sum += a.B.Row(r)[n] * hidden[r]
	}
	return a.Scale * sum
}
