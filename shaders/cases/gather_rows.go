package cases

import (
	"fmt"
	"math"
	"slices"

	"lorikeet/compute"
	"lorikeet/shaders"
)

func gatherRowsCases() []Case {
	var list []Case
	for _, c := range []struct {
		t     shaders.Type // of halves; F32: of rows
		width int
	}{{shaders.F32, 8}, {shaders.F32, 97}, {shaders.F32, 520}, {shaders.BF16, 32}, {shaders.F16, 97}, {shaders.BF16, 520}} {
		list = append(list, Case{
			Name: fmt.Sprintf("gather_rows/%v/%d columns", c.t, c.width), Stem: "gather_rows",
			Build: func(s *Setup) Run { return buildGatherRows(s, c.t, c.width) },
		})
	}
	return list
}

// buildGatherRows takes rows in any order, one of them twice; what it leaves of the last panel stays poisoned.
func buildGatherRows(s *Setup, t shaders.Type, width int) Run {
	const rows = 70
	list := s.Random.Perm(rows)[:37]
	list[20] = list[3]
	op := shaders.GatherRows{Gather: Place(s, words(list)), Count: len(list)}
	stride := Pad8(width)
	if t != shaders.F32 {
		stride = (width + shaders.PanelColumns - 1) / shaders.PanelColumns * shaders.PanelColumns
	}
	data := t.Encode(padded(s.normal(rows, width, t, 1), stride))
	var wanted []byte // row by row
	for _, row := range list {
		wanted = append(wanted, data[row*stride*t.Size():][:stride*t.Size()]...)
	}
	var to compute.Span
	if t == shaders.F32 {
		to = s.Alloc(len(wanted))
		op.From, op.To = shaders.Rows{Address: address(s.Bytes(data)), Stride: stride}, shaders.Rows{Address: address(to), Stride: stride}
	} else {
		panels := make([]byte, shaders.PanelsBytes(rows, stride))
		shaders.PutPanels(panels, data, 0, stride)
		to = s.Alloc(int(shaders.PanelsBytes(len(list), stride)))
		op.FromHalf, op.ToHalf = &shaders.Halves{Address: address(s.Bytes(panels)), Width: width}, &shaders.Halves{Address: address(to), Width: width}
	}
	return Run{
		Dispatches: []compute.Dispatch{op.Dispatch(s.Kernels)},
		Check: func() (float64, error) {
			got, err := Read[byte](s, to, int(to.Size))
			if err != nil {
				return 0, err
			}
			want := wanted
			if t != shaders.F32 {
				if want, err = Read[byte](s, s.Alloc(len(got)), len(got)); err != nil {
					return 0, err
				}
				shaders.PutPanels(want, wanted, 0, stride)
			}
			if !slices.Equal(got, want) {
				return math.Inf(1), nil
			}
			return 0, nil
		},
	}
}
