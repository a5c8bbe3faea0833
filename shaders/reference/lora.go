package reference

// Adapter is one low-rank pair: A is [rank][in], B is stored transposed, [rank][out]. Where B has a row more than A, it is a
// bias. The zero value adds nothing.
type Adapter struct {
	A, B  Matrix
	Scale float64
}

// Shrink returns A·x for one row, and 1 for a bias behind it.
func (a Adapter) Shrink(x []float64) []float64 {
	hidden := make([]float64, a.B.Rows)
	for r := range hidden {
		if r == a.A.Rows {
			hidden[r] = 1
			break
		}
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
