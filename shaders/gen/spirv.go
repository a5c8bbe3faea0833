package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The opcodes, decorations and storage classes read here, by their numbers in the SPIR-V specification, section 3.
const (
	spirvMagic = 0x07230203

	opName               = 5
	opMemberName         = 6
	opTypeBool           = 20
	opTypeInt            = 21
	opTypeFloat          = 22
	opTypeVector         = 23
	opTypeArray          = 28
	opTypeRuntimeArray   = 29
	opTypeStruct         = 30
	opTypePointer        = 32
	opTypeForwardPointer = 39
	opConstant           = 43
	opSpecConstantTrue   = 48
	opSpecConstantFalse  = 49
	opSpecConstant       = 50
	opVariable           = 59
	opDecorate           = 71
	opMemberDecorate     = 72

	decorationSpecID      = 1
	decorationBlock       = 2
	decorationArrayStride = 6
	decorationOffset      = 35

	storagePushConstant = 9
)

// spirvModule is what a module says about its interface.
type spirvModule struct {
	names   map[uint32]string
	members map[uint32][]string
	types   map[uint32]spirvType
	values  map[uint32]uint32            // 32-bit constants
	strides map[uint32]uint32            // array type -> bytes
	offsets map[uint32]map[uint32]uint32 // struct type -> member -> bytes
	blocks  map[uint32]bool
	specs   []specConstant
	specIDs map[uint32]uint32
	push    uint32 // the struct type of the push-constant block, 0 when there is none
}

// spirvType keeps an instruction's operands after its result id.
type spirvType struct {
	op       uint32
	operands []uint32
}

type specConstant struct {
	id       uint32 // constant_id
	name     string
	kind     string // Go type
	fallback uint32 // the bits it has when nothing is given
}

// dropUnnamed forgets the second, nameless constant that a local size by constant_id makes of a named one.
func (m *spirvModule) dropUnnamed() error {
	named := map[uint32]bool{}
	for _, spec := range m.specs {
		named[spec.id] = named[spec.id] || spec.name != ""
	}
	for _, spec := range m.specs {
		if !named[spec.id] {
			return fmt.Errorf("constant_id %d has no name", spec.id)
		}
	}
	m.specs = slices.DeleteFunc(m.specs, func(s specConstant) bool { return s.name == "" })
	return nil
}

// readModule reflects a little-endian SPIR-V module with its names in place.
func readModule(code []byte) (*spirvModule, error) {
	words, err := spirvWords(code)
	if err != nil {
		return nil, err
	}
	m := &spirvModule{
		names: map[uint32]string{}, members: map[uint32][]string{}, types: map[uint32]spirvType{},
		values: map[uint32]uint32{}, strides: map[uint32]uint32{}, offsets: map[uint32]map[uint32]uint32{},
		blocks: map[uint32]bool{}, specIDs: map[uint32]uint32{},
	}
	for rest := words[5:]; len(rest) > 0; {
		count := int(rest[0] >> 16)
		if count == 0 || count > len(rest) {
			return nil, errors.New("instruction runs past the module")
		}
		m.instruction(rest[0]&0xffff, rest[1:count])
		rest = rest[count:]
	}
	if err := m.dropUnnamed(); err != nil {
		return nil, err
	}
	return m, nil
}

func spirvWords(code []byte) ([]uint32, error) {
	if len(code) < 20 || len(code)%4 != 0 {
		return nil, fmt.Errorf("a module of %d bytes", len(code))
	}
	words := make([]uint32, len(code)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(code[4*i:])
	}
	if words[0] != spirvMagic {
		return nil, fmt.Errorf("magic number %#x", words[0])
	}
	return words, nil
}

func (m *spirvModule) instruction(op uint32, args []uint32) {
	switch op {
	case opName:
		m.names[args[0]] = spirvString(args[1:])
	case opMemberName:
		names := m.members[args[0]]
		for int(args[1]) >= len(names) {
			names = append(names, "")
		}
		names[args[1]] = spirvString(args[2:])
		m.members[args[0]] = names
	case opDecorate:
		m.decorate(args)
	case opMemberDecorate:
		if args[2] == decorationOffset {
			if m.offsets[args[0]] == nil {
				m.offsets[args[0]] = map[uint32]uint32{}
			}
			m.offsets[args[0]][args[1]] = args[3]
		}
	case opTypeBool, opTypeInt, opTypeFloat, opTypeVector, opTypeArray, opTypeRuntimeArray, opTypeStruct, opTypePointer:
		m.types[args[0]] = spirvType{op, args[1:]}
	case opTypeForwardPointer:
		m.types[args[0]] = spirvType{opTypePointer, args[1:]}
	case opConstant:
		m.values[args[1]] = args[2]
	case opSpecConstant:
		m.specConstant(args[0], args[1], args[2])
	case opSpecConstantTrue:
		m.specConstant(args[0], args[1], 1)
	case opSpecConstantFalse:
		m.specConstant(args[0], args[1], 0)
	case opVariable:
		if args[2] == storagePushConstant {
			m.push = m.types[args[0]].operands[1]
		}
	}
}

func (m *spirvModule) decorate(args []uint32) {
	switch args[1] {
	case decorationSpecID:
		m.specIDs[args[0]] = args[2]
	case decorationBlock:
		m.blocks[args[0]] = true
	case decorationArrayStride:
		m.strides[args[0]] = args[2]
	}
}

func (m *spirvModule) specConstant(kind, result, value uint32) {
	id, ok := m.specIDs[result]
	if !ok {
		return // gl_WorkGroupSize's own components carry no id of ours
	}
	name, err := m.goType(kind)
	if err != nil {
		name = ""
	}
	m.specs = append(m.specs, specConstant{id: id, name: m.names[result], kind: name, fallback: value})
}

func spirvString(words []uint32) string {
	var b strings.Builder
	for _, word := range words {
		for shift := 0; shift < 32; shift += 8 {
			c := byte(word >> shift)
			if c == 0 {
				return b.String()
			}
			b.WriteByte(c)
		}
	}
	return b.String()
}
