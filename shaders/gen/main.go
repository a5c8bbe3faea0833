// Gen compiles every shader of the folder above it to SPIR-V and writes what Go needs to know about them.
//
//	go run ./shaders/gen                       the compiler of `make shaderc`, build/shaderc/glslang
//	SHADERC=/usr/bin/glslang go run ./shaders/gen
//
// It leaves spv/<stem>.spv, spv/manifest.json, zkernels.go and zkernels_test.go. A shader that does not compile is
// reported and skipped, keeping its last module, and the exit status is 1.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	folder := flag.String("shaders", "shaders", "folder of the .comp files")
	compiler := flag.String("compiler", os.Getenv("SHADERC"), "glslang to run (default $SHADERC, then build/shaderc/glslang)")
	force := flag.Bool("force", false, "compile even what the manifest calls fresh")
	flag.Parse()
	if *compiler == "" {
		*compiler = filepath.Join("build", "shaderc", "glslang")
	}
	if err := run(*folder, *compiler, *force); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run brings every generated file of the folder up to date and returns all failures joined.
func run(folder, compiler string, force bool) error {
	glslang, err := findCompiler(compiler)
	if err != nil {
		return err
	}
	stems, err := sourceStems(folder)
	if err != nil {
		return err
	}
	old, err := readManifest(folder)
	if err != nil {
		return err
	}
	manifest := Manifest{Compiler: glslang.version, Flags: compileFlags, Modules: map[string]Module{}}
	var failures []error
	for _, stem := range stems {
		source, err := hashSource(folder, stem+".comp")
		if err != nil {
			failures = append(failures, err)
			continue
		}
		last, known := old.Modules[stem]
		if known && !force && old.fresh(folder, stem, source, glslang.version) {
			manifest.Modules[stem] = last
			continue
		}
		module, err := glslang.compile(folder, stem)
		if err != nil {
			failures = append(failures, err)
			if known {
				manifest.Modules[stem] = last
			}
			continue
		}
		manifest.Modules[stem] = Module{Source: source, Module: hash(module)}
		if err := replaceFile(modulePath(folder, stem), module); err != nil {
			return err
		}
		fmt.Println("gen: compiled", stem)
	}
	if err := removeStale(folder, manifest); err != nil {
		return err
	}
	code, tests, err := generate(folder, manifest.stems())
	if err != nil {
		return errors.Join(append(failures, err)...)
	}
	failures = append(failures,
		replaceFile(filepath.Join(folder, "zkernels.go"), code),
		replaceFile(filepath.Join(folder, "zkernels_test.go"), tests),
		manifest.write(folder))
	return errors.Join(failures...)
}

// replaceFile writes through a temporary file, so that a build running beside gen never sees half a file.
func replaceFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("gen: write %q: %w", path, err)
	}
	temporary := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	if err := os.WriteFile(temporary, content, 0o644); err != nil {
		return fmt.Errorf("gen: write %q: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("gen: write %q: %w", path, err)
	}
	return nil
}
