package cases

import (
	"fmt"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

func adjustCases() []Case {
	var out []Case
	for _, c := range []struct {
		vocab  int
		counts []int // adjustments of each row
	}{
		{100, []int{0, 1, 100, 7}},
		{1003, []int{600, 0, 257}},
	} {
		out = append(out, Case{
			Name: fmt.Sprintf("adjust/%d tokens/%d rows", c.vocab, len(c.counts)), Stem: "adjust", Limit: 1e-6,
			Build: func(s *Setup) Run { return buildAdjust(s, c.vocab, c.counts) },
		})
	}
	return out
}

func buildAdjust(s *Setup, vocab int, counts []int) Run {
	logits, span, values := s.Activations(len(counts), vocab)
	want := values.Clone()
	var rows []shaders.AdjustRow
	var list []shaders.Adjustment
	for t, count := range counts {
		rows = append(rows, shaders.AdjustRow{First: uint32(len(list)), Count: uint32(count)})
		var named []reference.Adjustment
		for _, token := range s.Random.Perm(vocab)[:count] {
			a := shaders.Adjustment{Token: uint32(token), Factor: 0.5 + s.Random.Float32(), Add: float32(s.Random.NormFloat64())}
			list = append(list, a)
			named = append(named, reference.Adjustment{Token: token, Factor: float64(a.Factor), Add: float64(a.Add)})
		}
		copy(want.Row(t), reference.Adjust(values.Row(t), named))
	}
	d := shaders.Adjust{Logits: logits, Rows: Place(s, rows), Adjustments: Place(s, list), Count: len(counts)}.Dispatch(s.Kernels)
	return Run{Dispatches: []compute.Dispatch{d}, Check: func() (float64, error) { return s.worst(output{span, logits.Stride, want}) }}
}
