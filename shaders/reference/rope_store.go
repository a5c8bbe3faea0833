package reference

// RopeStore returns qkv (heads query heads, kvHeads key heads, kvHeads value heads of headDim columns) with the deltas
// of sites q, k and v added and the query and key heads turned: columns i and i+headDim/2 of a head are one point,
// turned by positions[t] * frequencies[i]. cosine and sine are [position][pair]. adapters is [row][site], hidden
// [row][site*maxRank + r].
func RopeStore(qkv Matrix, heads, kvHeads, headDim int, positions []int, cosine, sine Matrix,
	adapters [][]Adapter, hidden Matrix, maxRank int) Matrix {
	out := qkv.Clone()
	for t := range out.Rows {
		row := out.Row(t)
		starts := []int{0, heads * headDim, (heads + kvHeads) * headDim, len(row)}
		for site := range 3 {
			for n := starts[site]; n < starts[site+1]; n++ {
				row[n] += adapters[t][site].Expand(hidden.Row(t)[site*maxRank:], n-starts[site])
			}
		}
		for start := 0; start < starts[2]; start += headDim {
			turn(row[start:start+headDim], cosine.Row(positions[t]), sine.Row(positions[t]))
		}
	}
	return out
}

func turn(head, cosine, sine []float64) {
	half := len(head) / 2
	for i := range half {
		first, second := head[i], head[i+half]
		head[i] = first*cosine[i] - second*sine[i]
		head[i+half] = second*cosine[i] + first*sine[i]
	}
}
