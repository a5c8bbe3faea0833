package cases

import (
	"math"
	"slices"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

// Projection places a matrix as products with it read it: in panels where the kernels want that.
func (s *Setup) Projection(m reference.Matrix, t shaders.Type) shaders.Matrix {
	stride := Pad8(m.Columns)
	return s.ProjectionOf(t.Encode(padded(m, stride)), stride, t)
}

// ProjectionOf is Projection of elements row by row, in rows that are padded to a multiple of eight.
func (s *Setup) ProjectionOf(rows []byte, stride int, t shaders.Type) shaders.Matrix {
	if !s.Kernels.Panels(t) {
		return shaders.Matrix{Address: address(s.Bytes(rows)), Stride: stride, Type: t}
	}
	panels := make([]byte, shaders.PanelsBytes(len(rows)/stride/t.Size(), stride))
	shaders.PutPanels(panels, rows, 0, stride)
	return shaders.Matrix{Address: address(s.Bytes(panels)), Type: t, Panels: true}
}

// Halved gives the rows of x as halves, and what has to run before they are there; nothing where the kernels take none.
func (s *Setup) Halved(x shaders.Rows, rows, width int, t shaders.Type, norm *shaders.Norm, gather uint64) (*shaders.Halves, []compute.Dispatch) {
	if !s.Kernels.Panels(t) {
		return nil, nil
	}
	h := shaders.Halves{Address: address(s.Alloc(int(shaders.PanelsBytes(rows, width)))), Width: width}
	if norm != nil {
		h.Gamma = norm.Weight
	}
	return &h, []compute.Dispatch{shaders.PackRows{X: x, Gather: gather, Halves: h, Type: t, Count: rows}.Dispatch(s.Kernels)}
}

// Product gives a product halves, where it takes them, and returns what has to run before it.
func (s *Setup) Product(op *shaders.Project) []compute.Dispatch {
	half, before := s.Halved(op.X, op.Tokens, op.In, op.W.Type, op.Norm, op.Gather)
	if half != nil {
		op.Half = *half
	}
	return before
}

// asHalves is what kernels that take halves see of x: x, or gamma * x, rounded to the type, and then what normalises it.
func asHalves(x reference.Matrix, gamma []float64, eps float64, t shaders.Type) reference.Matrix {
	out := x.Clone()
	inverses := reference.Inverses(x, eps)
	for i, v := range x.Values {
		factor := 1.0
		if gamma != nil {
			v, factor = v*gamma[i%x.Columns], inverses[i/x.Columns]
		}
		out.Values[i] = factor * float64(t.Round(bounded(t, float32(v))))
	}
	return out
}

// halved is halves that an operation leaves beside its fp32 rows.
type halved struct {
	*shaders.Halves
	kind  shaders.Type
	gamma []float32 // nil: none
	span  compute.Span
}

// halves places halves of so many rows, all of it poisoned, and with normed a random gamma. There are none of fp32, nor in style
// Lanes, whose kernels do not write them.
func (s *Setup) halves(rows, width int, t shaders.Type, normed bool) halved {
	if t == shaders.F32 || s.Kernels.Style() == shaders.Lanes {
		return halved{}
	}
	h := halved{Halves: &shaders.Halves{Width: width}, kind: t, span: s.Alloc(int(shaders.PanelsBytes(rows, width)))}
	h.Address = address(h.span)
	if normed {
		gamma := s.normal(1, width, t, 1)
		h.Gamma = address(s.Bytes(t.Encode(padded(gamma, Pad8(width)))))
		h.gamma = padded(gamma, width)
	}
	return h
}

// unit is how many columns a partial sum of squares is of beside halves, or without.
func (h halved) unit() int {
	if h.Halves == nil {
		return shaders.SquaresUnit
	}
	return shaders.SquaresQuad
}

// verify returns whether the halves are, to the bit, the fp32 rows of span times gamma, rounded; rows that skipped names are untouched.
func (h halved) verify(s *Setup, span compute.Span, rows, stride int, skip func(row int) bool) (bool, error) {
	if h.Halves == nil {
		return true, nil
	}
	values, err := Read[float32](s, span, rows*stride)
	if err != nil {
		return false, err
	}
	got, err := Read[byte](s, h.span, int(h.span.Size))
	if err != nil {
		return false, err
	}
	want, err := Read[byte](s, s.Alloc(int(h.span.Size)), int(h.span.Size)) // poison
	if err != nil {
		return false, err
	}
	for t := range rows {
		if skip(t) {
			continue
		}
		row := slices.Clone(values[t*stride:][:Pad8(h.Width)])
		for k := range h.gamma {
			row[k] *= h.gamma[k]
		}
		for k := range row {
			row[k] = bounded(h.kind, row[k])
		}
		shaders.PutPanels(want, h.kind.Encode(row), t, Pad8(h.Width))
	}
	return slices.Equal(got, want), nil
}

// compare returns the relative error of the rows that the halves have, of those that skip does not name.
func (h halved) compare(s *Setup, want reference.Matrix, skip func(row int) bool) (float64, error) {
	data, err := Read[byte](s, h.span, int(h.span.Size))
	if err != nil {
		return 0, err
	}
	var got []float32
	var wanted []float64
	across := (want.Columns + shaders.PanelColumns - 1) / shaders.PanelColumns
	for t := range want.Rows {
		if skip(t) {
			continue
		}
		for column := range want.Columns {
			panel := t/shaders.PanelRows*across + column/shaders.PanelColumns
			at := 2 * ((panel*shaders.PanelRows+t%shaders.PanelRows)*shaders.PanelColumns + column%shaders.PanelColumns)
			got = append(got, h.kind.Decode(data[at:at+2])...)
		}
		wanted = append(wanted, want.Row(t)...)
	}
	return RelativeError(got, wanted), nil
}

// bounded keeps what becomes an operand in f16 finite, as the kernels do.
func bounded(t shaders.Type, v float32) float32 {
	if t == shaders.F16 {
		return max(-65504, min(65504, v))
	}
	return v
}

// andHalves is a check that the halves are right, too.
func (s *Setup) andHalves(h halved, span compute.Span, rows, stride int, skip func(row int) bool, check func() (float64, error)) func() (float64, error) {
	return func() (float64, error) {
		relative, err := check()
		if err != nil {
			return 0, err
		}
		if ok, err := h.verify(s, span, rows, stride, skip); err != nil || !ok {
			return math.Inf(1), err
		}
		return relative, nil
	}
}

// withAlone is the launch of an operation that leaves fp32 rows and the halves h and, where it leaves halves, that of the same which leaves
// other halves alone; and these.
func (s *Setup) withAlone(h halved, both compute.Dispatch, alone func(*shaders.Halves) compute.Dispatch) ([]compute.Dispatch, halved) {
	if h.Halves == nil {
		return []compute.Dispatch{both}, h
	}
	other := h
	other.span = s.Alloc(int(h.span.Size))
	other.Halves = &shaders.Halves{Address: address(other.span), Width: h.Width, Gamma: h.Gamma}
	return []compute.Dispatch{both, alone(other.Halves)}, other
}

// andAlone is a check that both are the same bits.
func (s *Setup) andAlone(h, alone halved, check func() (float64, error)) func() (float64, error) {
	if h.Halves == nil {
		return check
	}
	return func() (float64, error) {
		relative, err := check()
		if err != nil {
			return 0, err
		}
		var data [2][]byte
		for i, span := range []compute.Span{h.span, alone.span} {
			if data[i], err = Read[byte](s, span, int(span.Size)); err != nil {
				return 0, err
			}
		}
		if !slices.Equal(data[0], data[1]) {
			return math.Inf(1), nil
		}
		return relative, nil
	}
}

// none skips no row.
func none(int) bool { return false }
