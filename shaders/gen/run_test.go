package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeCompiler hands out a committed module for every shader, but none for one named broken.
const fakeCompiler = `#!/bin/sh
for last; do :; done
case "$*" in
*--version*) echo "Glslang Version: 1:2.3" ;;
*broken.comp*) echo "ERROR: broken.comp:7"; exit 2 ;;
*) cp "$MODULE" "$last"; echo x >>"$COUNT" ;;
esac
`

type workshop struct {
	folder, compiler, count string
}

func newWorkshop(t *testing.T) workshop {
	dir := t.TempDir()
	w := workshop{filepath.Join(dir, "shaders"), filepath.Join(dir, "glslang"), filepath.Join(dir, "count")}
	require.NoError(t, os.WriteFile(w.compiler, []byte(fakeCompiler), 0o755))
	module, err := filepath.Abs("../spv/embed.spv")
	require.NoError(t, err)
	t.Setenv("MODULE", module)
	t.Setenv("COUNT", w.count)
	w.write(t, "include/leaf.glsl", "const uint EDGE = 0x10u; // side of a tile\n")
	w.write(t, "include/stem.glsl", "#include \"leaf.glsl\"\n")
	w.write(t, "good.comp", "#include \"include/stem.glsl\"\nconst uint THREADS = 64;\n")
	return w
}

func (w workshop) write(t *testing.T, name, text string) {
	path := filepath.Join(w.folder, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func (w workshop) read(t *testing.T, name string) string {
	text, err := os.ReadFile(filepath.Join(w.folder, name))
	require.NoError(t, err)
	return string(text)
}

func (w workshop) compiled(t *testing.T) int {
	text, err := os.ReadFile(w.count)
	require.NoError(t, err)
	return len(text) / len("x\n")
}

func TestRunCompilesWhatChanged(t *testing.T) {
	w := newWorkshop(t)
	require.NoError(t, run(w.folder, w.compiler, false))
	require.Equal(t, 1, w.compiled(t))
	require.NoError(t, run(w.folder, w.compiler, false))
	require.Equal(t, 1, w.compiled(t), "fresh")
	w.write(t, "include/leaf.glsl", "const uint EDGE = 32u; // side of a tile\n")
	require.NoError(t, run(w.folder, w.compiler, false))
	require.Equal(t, 2, w.compiled(t), "an include of an include changed")
	require.NoError(t, os.WriteFile(modulePath(w.folder, "good"), []byte("torn"), 0o644))
	require.NoError(t, run(w.folder, w.compiler, false))
	require.Equal(t, 3, w.compiled(t), "the module changed")

	code := w.read(t, "zkernels.go")
	require.Regexp(t, `Edge +\S+ 32 // side of a tile`, " "+code)
	require.Regexp(t, `goodThreads +\S+ 64`, " "+code)
	require.Regexp(t, `type goodPush struct \{\n\tTable +uint64\n`, code)
	require.Contains(t, code, "func (s goodSpec) constants() []uint32 {\n\treturn []uint32{s.Type, boolWord(s.Lora), boolWord(s.Half)}\n}")
	require.Regexp(t, `unsafe.Offsetof\(goodPush\{\}.Width\)`, w.read(t, "zkernels_test.go"))
}

func TestRunKeepsGoingPastABrokenShader(t *testing.T) {
	w := newWorkshop(t)
	w.write(t, "broken.comp", "")
	err := run(w.folder, w.compiler, false)
	require.ErrorContains(t, err, "ERROR: broken.comp:7")
	require.Contains(t, w.read(t, "zkernels.go"), "goodPush")
	require.NotContains(t, w.read(t, "zkernels.go"), "brokenPush")

	// A shader that worked before keeps its module, which the manifest then shows as stale.
	require.NoError(t, os.Rename(filepath.Join(w.folder, "good.comp"), filepath.Join(w.folder, "broken.comp")))
	require.NoError(t, os.Rename(modulePath(w.folder, "good"), modulePath(w.folder, "broken")))
	m, err := readManifest(w.folder)
	require.NoError(t, err)
	m.Modules["broken"] = m.Modules["good"]
	delete(m.Modules, "good")
	require.NoError(t, m.write(w.folder))
	w.write(t, "broken.comp", "changed")
	require.Error(t, run(w.folder, w.compiler, false))
	require.Contains(t, w.read(t, "zkernels.go"), "brokenPush")
	m, err = readManifest(w.folder)
	require.NoError(t, err)
	source, err := hashSource(w.folder, "broken.comp")
	require.NoError(t, err)
	require.False(t, m.fresh(w.folder, "broken", source, m.Compiler))
}

func TestRunRemovesModulesWithoutSource(t *testing.T) {
	w := newWorkshop(t)
	w.write(t, "spv/gone.spv", "old")
	require.NoError(t, run(w.folder, w.compiler, false))
	require.NoFileExists(t, modulePath(w.folder, "gone"))
	require.FileExists(t, modulePath(w.folder, "good"))
}

func TestRunNamesAMissingCompiler(t *testing.T) {
	w := newWorkshop(t)
	require.ErrorContains(t, run(w.folder, filepath.Join(w.folder, "none"), false), "SHADERC")
}

func TestNames(t *testing.T) {
	for glsl, want := range map[string]string{
		"rowCount": "RowCount", "ROW_COUNT": "RowCount", "A": "A", "topK": "TopK", "TYPE": "Type", "k_v": "KV",
	} {
		require.Equal(t, want, goName(glsl), glsl)
	}
	require.Equal(t, "ropeStore", stemName("rope_store"))
}
