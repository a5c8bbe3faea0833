package reference

// Expand returns y + delta; adapters is [row], hidden [row][r].
func Expand(y Matrix, adapters []Adapter, hidden Matrix) Matrix {
	out := y.Clone()
	for t := range y.Rows {
		for n := range y.Columns {
			out.Row(t)[n] += adapters[t].Expand(hidden.Row(t), n)
		}
	}
	return out
}
