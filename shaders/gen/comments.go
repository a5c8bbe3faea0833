package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// sourceNotes is what the GLSL text says that SPIR-V does not keep: comments, and constants fixed at compile time.
type sourceNotes struct {
	structs   map[string]string // struct name -> comment above it
	members   map[string]string // "Struct.member" -> comment behind it
	constants []fixedConstant
}

// fixedConstant is a `const uint NAME = value;` at file scope, which Go code has to agree with. An include's is
// exported; a shader's carries the stem in front.
type fixedConstant struct {
	name, value, comment string
}

var (
	structLine   = regexp.MustCompile(`^struct (\w+) \{`)
	memberLine   = regexp.MustCompile(`^\s+\w+ (\w+)(?:\[\w+\])?;\s*//\s*(.*)$`)
	constantLine = regexp.MustCompile(`^const uint ([A-Z][A-Z0-9_]*) = (0x[0-9a-fA-F]+|[0-9]+)u?;\s*(?://\s*(.*))?$`)
)

// readNotes reads every .comp and include of the folder.
func readNotes(folder string) (*sourceNotes, error) {
	var paths []string
	for _, pattern := range []string{"include/*.glsl", "*.comp"} {
		found, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			return nil, fmt.Errorf("gen: list %q: %w", folder, err)
		}
		paths = append(paths, found...)
	}
	notes := &sourceNotes{structs: map[string]string{}, members: map[string]string{}}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("gen: read notes: %w", err)
		}
		prefix := ""
		if stem, ok := strings.CutSuffix(filepath.Base(path), ".comp"); ok {
			prefix = stemName(stem)
		}
		if err := notes.scan(string(text), prefix); err != nil {
			return nil, fmt.Errorf("gen: notes of %q: %w", path, err)
		}
	}
	slices.SortFunc(notes.constants, func(a, b fixedConstant) int { return strings.Compare(a.name, b.name) })
	return notes, nil
}

// scan reads one file; prefix goes in front of its constants' names.
func (n *sourceNotes) scan(text, prefix string) error {
	var above []string
	inside := ""
	for _, line := range strings.Split(text, "\n") {
		if comment, ok := strings.CutPrefix(line, "//"); ok {
			above = append(above, strings.TrimSpace(comment))
			continue
		}
		if match := structLine.FindStringSubmatch(line); match != nil {
			inside = match[1]
			if len(above) > 0 {
				n.structs[inside] = strings.Join(above, "\n")
			}
		} else if match := memberLine.FindStringSubmatch(line); match != nil && inside != "" {
			n.members[inside+"."+match[1]] = match[2]
		} else if match := constantLine.FindStringSubmatch(line); match != nil {
			comment := match[3]
			if comment == "" {
				comment = strings.Join(above, " ")
			}
			if err := n.addConstant(fixedConstant{prefix + goName(match[1]), match[2], comment}); err != nil {
				return err
			}
		}
		if strings.HasPrefix(line, "}") {
			inside = ""
		}
		above = nil
	}
	return nil
}

func (n *sourceNotes) addConstant(c fixedConstant) error {
	for _, other := range n.constants {
		if other.name == c.name {
			return fmt.Errorf("constant %s stands in two includes", c.name)
		}
	}
	n.constants = append(n.constants, c)
	return nil
}
