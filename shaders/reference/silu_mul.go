package reference

import "math"

// SiluMul returns silu(gate + delta) * (up + delta); adapters is [row]{gate, up}, hidden [row][site*maxRank + r].
func SiluMul(gate, up Matrix, adapters [][]Adapter, hidden Matrix, maxRank int) Matrix {
	out := NewMatrix(gate.Rows, gate.Columns)
	for t := range gate.Rows {
		for n := range gate.Columns {
			g := gate.Row(t)[n] + adapters[t][0].Expand(hidden.Row(t), n)
			u := up.Row(t)[n] + adapters[t][1].Expand(hidden.Row(t)[maxRank:], n)
			out.Row(t)[n] = g / (1 + math.Exp(-g)) * u
		}
	}
	return out
}
