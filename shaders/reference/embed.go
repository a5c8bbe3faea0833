package reference

// Embed returns the table's rows of the ids, each with scale * B·A[:,id] of its adapter; adapters is [row].
func Embed(table Matrix, ids []int, adapters []Adapter) Matrix {
	out := NewMatrix(len(ids), table.Columns)
	for t, id := range ids {
		a := adapters[t]
		hidden := make([]float64, a.A.Rows)
		for r := range hidden {
			hidden[r] = a.A.Row(r)[id]
		}
		for n, v := range table.Row(id) {
			out.Row(t)[n] = v + a.Expand(hidden, n)
		}
	}
	return out
}
