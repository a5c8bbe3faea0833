// Package arch holds the rules about which package may import which.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "lorikeet"

// below lists, for every package, the packages of the project that it may import: those further down. A package that is
// missing here fails the test, so that its place is decided on purpose. Packages under tools may import anything.
var below = map[string][]string{
	".":                       {"server/cli"},
	"server/cli":              {"server", "server/engine", "model", "model/chat", "model/checkpoint", "model/tokenizer", "lora", "shaders", "compute"},
	"server":                  {"server/engine", "lora"},
	"server/engine":           {"model", "lora"},
	"model":                   {"model/checkpoint", "lora", "shaders", "compute"},
	"model/chat":              {},
	"model/checkpoint":        {},
	"model/tokenizer":         {},
	"lora":                    {"model/checkpoint", "shaders", "compute"},
	"shaders":                 {"compute"},
	"shaders/cases":           {"shaders", "shaders/reference", "compute"},
	"shaders/gen":             {},
	"shaders/reference":       {},
	"compute":                 {"compute/internal/native"},
	"compute/computetest":     {"compute"},
	"compute/internal/native": {},
}

// helpers are what any test may import besides.
var helpers = []string{"compute/computetest", "shaders/cases", "shaders/reference"}

// only lists, for imports from outside, the packages that may have them.
var only = map[string][]string{
	"C":                           {"compute/internal/native"},
	"github.com/vulkan-go/vulkan": {"compute", "compute/internal/native"},
	"net/http":                    {"server", "server/cli", "tools/servebench"},
	"github.com/spf13/cobra":      {"server/cli"},
}

func TestImportsGoDown(t *testing.T) {
	checked := 0
	for file, imports := range goFiles(t, "../..") {
		folder := path.Dir(file)
		if strings.HasPrefix(folder, "tools/") {
			continue
		}
		allowed, known := below[folder]
		require.True(t, known, "%s: package %q has no place in the table of this test", file, folder)
		checked++
		for _, imported := range imports {
			target, ours := strings.CutPrefix(imported, module+"/")
			if !ours || slices.Contains(allowed, target) {
				continue
			}
			if strings.HasSuffix(file, "_test.go") && (target == folder || slices.Contains(helpers, target) || reachable(folder, target)) {
				continue
			}
			t.Errorf("%s may not import %s", file, imported)
		}
	}
	require.NotZero(t, checked)
}

func TestOutsideImportsStayInTheirPlace(t *testing.T) {
	for file, imports := range goFiles(t, "../..") {
		for _, imported := range imports {
			folders, restricted := only[imported]
			if restricted && !strings.HasSuffix(file, "_test.go") && !slices.Contains(folders, path.Dir(file)) {
				t.Errorf("%s may not import %s", file, imported)
			}
		}
	}
}

// The table itself must lead down: no package may reach itself.
func TestTableHasNoCycle(t *testing.T) {
	for folder := range below {
		require.False(t, reachable(folder, folder), folder)
	}
}

// reachable reports whether a package lies below another one.
func reachable(from, to string) bool {
	return slices.ContainsFunc(below[from], func(next string) bool { return next == to || reachable(next, to) })
}

// goFiles returns the imports of every Go file below root, by slash-separated path.
func goFiles(t *testing.T, root string) map[string][]string {
	files := map[string][]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "build") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		imports := []string{}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, imported)
		}
		files[filepath.ToSlash(relative)] = imports
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}
