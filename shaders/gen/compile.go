package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// compileFlags leave out -O: the optimizer of the tools breaks cooperative-matrix and bf16 modules, and drivers
// optimize anyway.
var compileFlags = []string{"-V", "--target-env", "vulkan1.2"}

type glslang struct {
	path      string
	validator string // spirv-val beside the compiler, empty when there is none
	version   string
}

func findCompiler(path string) (*glslang, error) {
	if strings.ContainsRune(path, filepath.Separator) {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("gen: compiler %q: %w", path, err)
		}
		path = absolute
	}
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("gen: run compiler %q (fetch it with tools/shaderc/fetch, or set SHADERC): %w", path, err)
	}
	version, _, _ := strings.Cut(string(out), "\n")
	c := &glslang{path: path, version: strings.TrimPrefix(version, "Glslang Version: ")}
	if beside := filepath.Join(filepath.Dir(path), "spirv-val"); isFile(beside) {
		c.validator = beside
	}
	return c, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// compile returns the module of one stem, validated when the tools are there.
func (c *glslang) compile(folder, stem string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "gen")
	if err != nil {
		return nil, fmt.Errorf("gen: compile %q: %w", stem, err)
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, stem+".spv")
	args := append(append([]string{}, compileFlags...), stem+".comp", "-o", out)
	if text, err := runTool(folder, c.path, args...); err != nil {
		return nil, fmt.Errorf("gen: compile %q: %w\n%s", stem, err, text)
	}
	if c.validator != "" {
		if text, err := runTool(folder, c.validator, "--target-env", "vulkan1.2", out); err != nil {
			return nil, fmt.Errorf("gen: validate %q: %w\n%s", stem, err, text)
		}
	}
	module, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("gen: compile %q: %w", stem, err)
	}
	return module, nil
}

func runTool(dir, tool string, args ...string) (string, error) {
	cmd := exec.Command(tool, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}
