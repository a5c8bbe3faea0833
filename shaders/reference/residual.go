package reference

// Residual returns x + y + delta; adapters is [row], hidden [row][r].
func Residual(x, y Matrix, adapters []Adapter, hidden Matrix) Matrix {
	out := x.Clone()
	for t := range x.Rows {
		for n := range x.Columns {
			out.Row(t)[n] += y.Row(t)[n] + adapters[t].Expand(hidden.Row(t), n)
		}
	}
	return out
}
