package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Manifest ties each committed module to the source it came from, so that a test without a compiler sees a stale one.
type Manifest struct {
	Compiler string            `json:"compiler"`
	Flags    []string          `json:"flags"`
	Modules  map[string]Module `json:"modules"`
}

// Module holds two SHA-256 sums in hex: of the .comp with everything it includes, and of the SPIR-V.
type Module struct {
	Source string `json:"source"`
	Module string `json:"module"`
}

func manifestPath(folder string) string     { return filepath.Join(folder, "spv", "manifest.json") }
func modulePath(folder, stem string) string { return filepath.Join(folder, "spv", stem+".spv") }

// readManifest returns an empty manifest when there is none yet.
func readManifest(folder string) (Manifest, error) {
	var m Manifest
	text, err := os.ReadFile(manifestPath(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return m, fmt.Errorf("gen: manifest of %q: %w", folder, err)
	}
	return m, nil
}

func (m Manifest) write(folder string) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("gen: manifest of %q: %w", folder, err)
	}
	return replaceFile(manifestPath(folder), append(text, '\n'))
}

func (m Manifest) stems() []string { return slices.Sorted(maps.Keys(m.Modules)) }

// fresh reports whether the stem's committed module is what this compiler made of this source.
func (m Manifest) fresh(folder, stem, source, compiler string) bool {
	if m.Compiler != compiler || !slices.Equal(m.Flags, compileFlags) || m.Modules[stem].Source != source {
		return false
	}
	module, err := os.ReadFile(modulePath(folder, stem))
	return err == nil && hash(module) == m.Modules[stem].Module
}

func hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// sourceStems lists the .comp files of the folder, sorted, without their ending.
func sourceStems(folder string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.comp"))
	if err != nil {
		return nil, fmt.Errorf("gen: list %q: %w", folder, err)
	}
	stems := make([]string, len(paths))
	for i, path := range paths {
		stems[i] = strings.TrimSuffix(filepath.Base(path), ".comp")
	}
	slices.Sort(stems)
	return stems, nil
}

var includeLine = regexp.MustCompile(`(?m)^#include "([^"]+)"`)

// hashSource sums the file and, in order of first mention, every file it includes, by paths relative to the includer.
func hashSource(folder, name string) (string, error) {
	sum := sha256.New()
	seen := map[string]bool{}
	var visit func(path string) error
	visit = func(path string) error {
		if seen[path] {
			return nil
		}
		seen[path] = true
		text, err := os.ReadFile(filepath.Join(folder, path))
		if err != nil {
			return fmt.Errorf("gen: source of %q: %w", name, err)
		}
		fmt.Fprintf(sum, "%s %d\n%s", path, len(text), text)
		for _, match := range includeLine.FindAllStringSubmatch(string(text), -1) {
			if err := visit(filepath.Join(filepath.Dir(path), match[1])); err != nil {
				return err
			}
		}
		return nil
	}
	if err := visit(name); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// removeStale deletes modules whose source is gone.
func removeStale(folder string, m Manifest) error {
	paths, err := filepath.Glob(filepath.Join(folder, "spv", "*.spv"))
	if err != nil {
		return fmt.Errorf("gen: list modules of %q: %w", folder, err)
	}
	for _, path := range paths {
		stem := strings.TrimSuffix(filepath.Base(path), ".spv")
		if _, ok := m.Modules[stem]; ok {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("gen: remove stale module: %w", err)
		}
	}
	return nil
}
