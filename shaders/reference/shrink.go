package reference

// Shrink returns [t][site*maxRank + r] = (A of the row's adapter at the site · x[t])[r]; x is already normed. adapters is
// [row][site]; entries past an adapter's rank are zero.
func Shrink(x Matrix, adapters [][]Adapter, maxRank int) Matrix {
	out := NewMatrix(x.Rows, len(adapters[0])*maxRank)
	for t := range x.Rows {
		for s, adapter := range adapters[t] {
			copy(out.Row(t)[s*maxRank:], adapter.Shrink(x.Row(t)))
		}
	}
	return out
}
