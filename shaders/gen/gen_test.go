package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The committed modules and the Go made from them belong to the committed sources; this needs no compiler.
func TestCommittedModulesAreFresh(t *testing.T) {
	const folder = ".."
	manifest, err := readManifest(folder)
	require.NoError(t, err)
	stems, err := sourceStems(folder)
	require.NoError(t, err)
	require.Equal(t, stems, manifest.stems(), "run make shaders")
	for _, stem := range stems {
		source, err := hashSource(folder, stem+".comp")
		require.NoError(t, err)
		require.True(t, manifest.fresh(folder, stem, source, manifest.Compiler), "%s: run make shaders", stem)
	}
	code, tests, err := generate(folder, stems)
	require.NoError(t, err)
	for name, want := range map[string][]byte{"zkernels.go": code, "zkernels_test.go": tests} {
		got, err := os.ReadFile(filepath.Join(folder, name))
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "%s: run make shaders", name)
	}
	modules, err := filepath.Glob(filepath.Join(folder, "spv", "*.spv"))
	require.NoError(t, err)
	require.Len(t, modules, len(stems), "modules without a source")
}
