package model

import (
	"math"
	"runtime"
	"sync"
)

// ropeTable is the rotary embedding's table, fp32 [positions][2·pairs]: the
// cosines of a position's angles, then their sines. The angle of a pair is
// position · frequency, computed in float64: single precision loses the phase
// of the fastest pairs beyond some thousand positions.
func ropeTable(frequencies []float64, positions int) []float32 {
	pairs := len(frequencies)
	table := make([]float32, positions*2*pairs)
	workers := runtime.GOMAXPROCS(0)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for position := w; position < positions; position += workers {
				line := table[position*2*pairs:]
				for i, f := range frequencies {
					sin, cos := math.Sincos(float64(position) * f)
					line[i], line[pairs+i] = float32(cos), float32(sin)
				}
			}
		})
	}
	group.Wait()
	return table
}
