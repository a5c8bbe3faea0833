package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/model/checkpoint"
)

// TestMakeModel opens a checkpoint that was made and finds every weight of its shape.
func TestMakeModel(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, makeModel(tinyModel(t), folder, 1))
	c, err := checkpoint.Open(folder)
	require.NoError(t, err)
	require.NoError(t, c.Check())
	require.Len(t, c.Names(), 3+2*(2+7))
	require.NoError(t, c.Close())
}
