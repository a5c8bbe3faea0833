package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Each step has two runs, and waits before both; idle begins between those of the first step.
func TestWaits(t *testing.T) {
	idle := []time.Duration{1, 20, 3, 40, 5, 600, 7, 80, 9, 100, 11}
	for i := range idle {
		idle[i] *= time.Second
	}
	require.Equal(t, []float64{23, 45, 89, 111}, waits(idle, 3), "the fourth step began a sample")
	require.Empty(t, waits(idle, 1))
}
