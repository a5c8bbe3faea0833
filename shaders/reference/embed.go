package reference

// Embed returns the table's rows of the ids.
func Embed(table Matrix, ids []int) Matrix {
	out := NewMatrix(len(ids), table.Columns)
	for t, id := range ids {
		copy(out.Row(t), table.Row(id))
	}
	return out
}
