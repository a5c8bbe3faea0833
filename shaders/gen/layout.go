package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// goStruct is a GPU struct with the byte offsets the module gives its fields.
type goStruct struct {
	name   string
	fields []goField
	size   uint32 // bytes, with trailing padding where it is the element of an array
}

type goField struct {
	name   string
	glsl   string
	kind   string
	offset uint32
	size   uint32
}

// structOf lays out one struct type. stride is its array stride, 0 for a block that is no array's element.
func (m *spirvModule) structOf(id uint32, name string, stride uint32) (goStruct, error) {
	s := goStruct{name: name}
	for i, member := range m.types[id].operands {
		offset, ok := m.offsets[id][uint32(i)]
		if !ok {
			return s, fmt.Errorf("struct %s: member %d has no offset", name, i)
		}
		glsl := m.members[id][i]
		kind, err := m.goType(member)
		if err != nil {
			return s, fmt.Errorf("struct %s: member %s: %w", name, glsl, err)
		}
		size, err := m.sizeOf(member)
		if err != nil {
			return s, fmt.Errorf("struct %s: member %s: %w", name, glsl, err)
		}
		s.fields = append(s.fields, goField{name: goName(glsl), glsl: glsl, kind: kind, offset: offset, size: size})
		s.size = offset + size
	}
	s.size = max(s.size, stride)
	return s, nil
}

// bufferStructs returns the named structs that arrays in buffers are made of.
func (m *spirvModule) bufferStructs() ([]goStruct, error) {
	var out []goStruct
	for _, array := range slices.Sorted(maps.Keys(m.strides)) {
		t := m.types[array]
		if len(t.operands) == 0 {
			continue
		}
		element := t.operands[0]
		if m.types[element].op != opTypeStruct || m.blocks[element] {
			continue
		}
		s, err := m.structOf(element, m.names[element], m.strides[array])
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (m *spirvModule) goType(id uint32) (string, error) {
	t := m.types[id]
	switch t.op {
	case opTypeBool:
		return "bool", nil
	case opTypeInt:
		if t.operands[1] == 0 {
			return fmt.Sprintf("uint%d", t.operands[0]), nil
		}
		return fmt.Sprintf("int%d", t.operands[0]), nil
	case opTypeFloat:
		if t.operands[0] == 32 || t.operands[0] == 64 {
			return fmt.Sprintf("float%d", t.operands[0]), nil
		}
	case opTypePointer:
		return "uint64", nil
	case opTypeVector:
		element, err := m.goType(t.operands[0])
		return fmt.Sprintf("[%d]%s", t.operands[1], element), err
	case opTypeArray:
		element, err := m.goType(t.operands[0])
		return fmt.Sprintf("[%d]%s", m.values[t.operands[1]], element), err
	case opTypeStruct:
		return m.names[id], nil
	}
	return "", fmt.Errorf("type of opcode %d has no Go twin", t.op)
}

func (m *spirvModule) sizeOf(id uint32) (uint32, error) {
	t := m.types[id]
	switch t.op {
	case opTypeInt, opTypeFloat:
		return t.operands[0] / 8, nil
	case opTypePointer:
		return 8, nil
	case opTypeVector:
		size, err := m.sizeOf(t.operands[0])
		return size * t.operands[1], err
	case opTypeArray:
		return m.strides[id] * m.values[t.operands[1]], nil
	case opTypeStruct:
		s, err := m.structOf(id, m.names[id], 0)
		return s.size, err
	}
	return 0, fmt.Errorf("type of opcode %d has no size", t.op)
}

// goName turns rowCount and ROW_COUNT into RowCount.
func goName(glsl string) string {
	if glsl == strings.ToUpper(glsl) {
		glsl = strings.ToLower(glsl)
	}
	return camel(glsl)
}

// camel turns row_count into RowCount and leaves inner capitals alone.
func camel(name string) string {
	var b strings.Builder
	upper := true
	for _, r := range name {
		switch {
		case r == '_':
			upper = true
		case upper:
			b.WriteRune(unicode.ToUpper(r))
			upper = false
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// stemName turns rope_store into ropeStore.
func stemName(stem string) string {
	name := camel(stem)
	return strings.ToLower(name[:1]) + name[1:]
}
