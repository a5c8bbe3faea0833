package cases

import (
	"bytes"
	"fmt"
	"math"

	"lorikeet/compute"
	"lorikeet/shaders"
	"lorikeet/shaders/reference"
)

func randomFillCases() []Case {
	var out []Case
	for _, c := range []struct {
		t     shaders.Type
		count int
		scale float32
	}{
		{shaders.F32, 10007, 0.02},
		{shaders.F16, 10003, 1},
		{shaders.F16, 10003, 1e-6},      // subnormal halves
		{shaders.F16, 10003, 5e4},       // some past the largest half
		{shaders.BF16, 1<<20 + 3, 0.02}, // enough for a dozen values halfway between two
	} {
		out = append(out, Case{
			Name: fmt.Sprintf("random_fill/%v/scale %g", c.t, c.scale), Stem: "random_fill", Limit: 0,
			Build: func(s *Setup) Run { return buildRandomFill(s, c.t, c.count, c.scale) },
		})
	}
	return out
}

// buildRandomFill wants every bit right, which also proves the rounding of the packing stores.
func buildRandomFill(s *Setup, t shaders.Type, count int, scale float32) Run {
	seed := s.Random.Uint32()
	span := s.Alloc((Pad8(count) + 8) * t.Size())
	d := shaders.RandomFill{Address: address(span), Count: int64(count), Type: t, Scale: scale, Seed: seed}.Dispatch(s.Kernels)
	return Run{Dispatches: []compute.Dispatch{d}, Check: func() (float64, error) {
		values := make([]float32, Pad8(count))
		for i := range count {
			values[i] = float32(reference.RandomFill(seed, uint64(i), shaders.RandomFillWidth(scale)))
		}
		got, err := Read[byte](s, span, int(span.Size))
		if err != nil {
			return 0, err
		}
		filled := len(values) * t.Size()
		if !bytes.Equal(got[:filled], t.Encode(values)) || !poisoned(got[filled:]) {
			return math.Inf(1), nil
		}
		return 0, nil
	}}
}
