// Package reference holds the float64 twin of every kernel, written for reading: plain loops over the formula.
// Inputs are the values the device sees, that is after rounding to the checkpoint's type.
package reference

// Matrix is dense, row-major, without padding.
type Matrix struct {
	Rows, Columns int
	Values        []float64
}

// NewMatrix returns a zero matrix.
func NewMatrix(rows, columns int) Matrix {
	return Matrix{Rows: rows, Columns: columns, Values: make([]float64, rows*columns)}
}

// Row is a view of one row.
func (m Matrix) Row(i int) []float64 { return m.Values[i*m.Columns : (i+1)*m.Columns] }

// First is a view of the first n rows.
func (m Matrix) First(n int) Matrix { return Matrix{n, m.Columns, m.Values[:n*m.Columns]} }

// Slice copies n columns from first on.
func (m Matrix) Slice(first, n int) Matrix {
	out := NewMatrix(m.Rows, n)
	for r := range m.Rows {
		copy(out.Row(r), m.Row(r)[first:first+n])
	}
	return out
}

// Clone copies the matrix.
func (m Matrix) Clone() Matrix {
	m.Values = append([]float64(nil), m.Values...)
	return m
}
