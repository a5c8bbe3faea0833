package shaders

import "lorikeet/compute"

// A matrix in panels is what products by cooperative matrices read (include/panels.glsl): 16 rows by 32 columns of 16-bit elements make a
// panel of 1 KiB, row-major, and the panels of the same rows follow each other. Rows and columns that fill up the last panels are
// zeros.

// Halves are activations in panels, in the type of the weights that they are multiplied with; where a norm follows, times its gamma.
type Halves struct {
	Address uint64 // PanelsBytes of them, zero where no row was written yet
	Width   int    // columns
	Gamma   uint64 // of the norm between who writes them and who reads them, in their type; 0: none
}

// panels is how many the columns take.
func (h *Halves) panels() uint32 {
	if h == nil {
		return 0
	}
	return count32(ceilDiv(h.Width, PanelColumns))
}

func (h *Halves) address() uint64 {
	if h == nil {
		return 0
	}
	return h.Address
}

func (h *Halves) gamma() uint64 {
	if h == nil {
		return 0
	}
	return h.Gamma
}

// mustLeave panics where an operation would leave its result nowhere.
func mustLeave(kernel string, out Rows, half *Halves) {
	if out.Address == 0 && half.address() == 0 {
		panic("shaders: " + kernel + " leaves neither rows nor halves")
	}
}

// SquaresUnit is how many columns of the residual stream a partial sum of squares is of, where it is of neither SquaresBlock nor FusedSquares: a
// unit of outputs, or four where they are left as halves, too.
func (k *Kernels) SquaresUnit(t Type) int {
	if k.Panels(t) {
		return SquaresQuad
	}
	return SquaresUnit
}

// PanelsBytes is the size of so many rows and columns in panels.
func PanelsBytes(rows, columns int) int64 {
	return int64(ceilDiv(rows, PanelRows)) * int64(ceilDiv(columns, PanelColumns)) * panelBytes
}

const panelBytes = 2 * PanelRows * PanelColumns

// PutPanels copies rows of 16-bit elements, columns of them wide and following each other, into a matrix in panels from a row on.
func PutPanels(panels, rows []byte, first, columns int) {
	across := ceilDiv(columns, PanelColumns)
	const line = 2 * PanelColumns // bytes of a panel's row
	for r := range len(rows) / (2 * columns) {
		row := rows[2*columns*r : 2*columns*(r+1)]
		at := (first+r)/PanelRows*across*panelBytes + (first+r)%PanelRows*line
		for len(row) > 0 {
			n := copy(panels[at:at+line], row)
			row, at = row[n:], at+panelBytes
		}
	}
}

// PackRows turns fp32 rows into halves, with the gamma that these name:
//
//	Halves[t,k] = gamma[k] * X[row(t),k]
//
// row(t) is the t-th entry of Gather, or t itself.
type PackRows struct {
	X      Rows
	Gather uint64 // uint32 [Count], 0: none
	Halves Halves // written
	Type   Type
	Count  int
}

// Dispatch returns the launch.
func (r PackRows) Dispatch(k *Kernels) compute.Dispatch {
	return compute.Dispatch{
		Label:  "pack_rows",
		Kernel: k.kernel("pack_rows", packRowsSpec{Type: uint32(r.Type), Norm: r.Halves.Gamma != 0, Gather: r.Gather != 0}),
		Push: pushBytes(packRowsPush{
			X: r.X.Address, Halves: r.Halves.Address, Gamma: r.Halves.Gamma, Gather: r.Gather,
			XStride: count32(r.X.Stride), Width: count32(r.Halves.Width), Panels: r.Halves.panels(),
		}),
		Groups: [3]uint32{count32(ceilDiv(int(r.Halves.panels())*PanelColumns, packRowsColumns)), count32(r.Count), 1},
		Bytes:  6 * int64(r.Count) * int64(r.Halves.Width),
	}
}
