package model

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWarmingUpStops ends the context before: one run is over then, and the others are not begun.
func TestWarmingUpStops(t *testing.T) {
	f := newFixture(t, tinyModels[0], rand.New(rand.NewPCG(1, 2)))
	told := errors.New("told to stop")
	ctx, stop := context.WithCancelCause(t.Context())
	stop(told)
	turn := f.model.turn
	require.ErrorIs(t, f.model.warm(ctx), told)
	require.Equal(t, 1-turn, f.model.turn, "the runs take turns")
	require.NoError(t, f.model.warm(t.Context()))
}
