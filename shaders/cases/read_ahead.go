package cases

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"lorikeet/compute"
	"lorikeet/shaders"
)

func readAheadCases() []Case {
	var out []Case
	for _, size := range []int{16, 4096, 100000} {
		out = append(out, Case{
			Name: fmt.Sprintf("read_ahead/%d bytes", size), Stem: "read_ahead", Limit: 0,
			Build: func(s *Setup) Run { return buildReadAhead(s, size) },
		})
	}
	return out
}

// buildReadAhead wants the exclusive or of all sums to be that of all words, and nothing written behind the sums.
func buildReadAhead(s *Setup, size int) Run {
	data := make([]byte, size)
	var want uint32
	for i := 0; i < size; i += 4 {
		word := s.Random.Uint32()
		binary.LittleEndian.PutUint32(data[i:], word)
		want ^= word
	}
	count := shaders.ReadAheadSums(int64(size))
	sums := s.Alloc(4 * (count + 1))
	d := shaders.ReadAhead{Source: address(s.Bytes(data)), Bytes: int64(size), Sums: address(sums)}.Dispatch(s.Kernels)
	return Run{Dispatches: []compute.Dispatch{d}, Check: func() (float64, error) {
		got, err := Read[uint32](s, sums, count+1)
		if err != nil {
			return 0, err
		}
		for _, sum := range got[:count] {
			want ^= sum
		}
		if want != 0 || got[count] != poison || slices.Contains(got[:count], poison) {
			return math.Inf(1), nil
		}
		return 0, nil
	}}
}
