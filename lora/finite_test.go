package lora

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

// notFiniteIn are values that no type of a model has, as bits of a file's type, under the names that messages give them.
var notFiniteIn = map[checkpoint.DType]map[string][]uint32{
	checkpoint.F32:  {"+Inf": {0x7f800000}, "-Inf": {0xff800000}, "NaN": {0x7fc00000, 0xffc00000, 0x7f800001, 0xffffffff}},
	checkpoint.F16:  {"+Inf": {0x7c00}, "-Inf": {0xfc00}, "NaN": {0x7e00, 0xfe00, 0x7c01, 0xffff}},
	checkpoint.BF16: {"+Inf": {0x7f80}, "-Inf": {0xff80}, "NaN": {0x7fc0, 0xffc0, 0x7f81, 0xffff}},
}

// conversions are what may lie in a file of a type for a model of a type, as bits without the sign.
var conversions = []struct {
	from     checkpoint.DType
	to       shaders.Type
	largest  uint32 // that stays finite
	tooLarge uint32 // the one after it, 0 if that is infinite in the file
}{
	{checkpoint.F32, shaders.F32, 0x7f7fffff, 0},
	{checkpoint.F32, shaders.F16, 0x477fefff, 0x477ff000}, // 65520, halfway from 65504 to what would be next
	{checkpoint.F32, shaders.BF16, 0x7f7f7fff, 0x7f7f8000},
	{checkpoint.F16, shaders.F32, 0x7bff, 0},
	{checkpoint.F16, shaders.F16, 0x7bff, 0},
	{checkpoint.F16, shaders.BF16, 0x7bff, 0},
	{checkpoint.BF16, shaders.F32, 0x7f7f, 0},
	{checkpoint.BF16, shaders.F16, 0x477f, 0x4780},
	{checkpoint.BF16, shaders.BF16, 0x7f7f, 0},
}

// TestReadRefusesWhatIsNotFinite puts such values into each kind of tensor. Rows of other adapters in a tile count as zero,
// and zero times infinity is no number: one adapter must not harm the requests of another.
func TestReadRefusesWhatIsNotFinite(t *testing.T) {
	for _, c := range conversions {
		t.Run(fmt.Sprintf("%s to %s", c.from, c.to), func(t *testing.T) {
			sign := uint32(1) << (8*c.from.Size() - 1)
			eachTensor(t, c.from, c.to, func(name string, readWith func(bits uint32) error) {
				refused := func(bits uint32, why string) {
					err := readWith(bits)
					require.ErrorIs(t, err, ErrRefused, "%s: %#x", name, bits)
					require.ErrorContains(t, err, `lora: read "some/path": adapter_model.safetensors: tensor "`+name+`": `)
					require.ErrorContains(t, err, why)
				}
				for value, patterns := range notFiniteIn[c.from] {
					for _, bits := range patterns {
						refused(bits, ": value "+value+", want a finite one")
					}
				}
				if c.tooLarge != 0 {
					refused(c.tooLarge, "is too large for the model's type, "+c.to.String())
					refused(c.tooLarge|sign, "is too large for the model's type, "+c.to.String())
				}
				require.NoError(t, readWith(c.largest), name)
				require.NoError(t, readWith(c.largest|sign), name)
			})
		})
	}
}

// eachTensor calls back for A, B and bias of sites whose widths let values be moved by four, of one whose widths do not, and
// of those of no layer. readWith reads an adapter that has a value somewhere in the tensor.
func eachTensor(t *testing.T, from checkpoint.DType, to shaders.Type, do func(name string, readWith func(bits uint32) error)) {
	const rank = 4
	r := random(t)
	base := testBase(to)
	var biased []checkpoint.Tensor
	for _, s := range []Site{O, Gate, LMHead} {
		biased = append(append(biased, matrices(r, base, 0, s, rank, from)...), biasOf(r, base, 0, s, from))
	}
	for _, adapter := range []struct {
		config  object
		tensors []checkpoint.Tensor
	}{
		{plainConfig(rank, "o_proj", "gate_proj", "lm_head").with(object{"lora_bias": true}), biased},
		{plainConfig(rank, "embed_tokens"), matrices(r, base, 0, EmbedTokens, rank, from)},
	} {
		for i, tensor := range adapter.tensors {
			do(tensor.Name, func(bits uint32) error {
				changed := slices.Clone(adapter.tensors)
				changed[i].Data = slices.Clone(tensor.Data)
				place := changed[i].Data[r.IntN(len(tensor.Data)/from.Size())*from.Size():]
				if from.Size() == 4 {
					binary.LittleEndian.PutUint32(place, bits)
				} else {
					binary.LittleEndian.PutUint16(place, uint16(bits))
				}
				_, err := read(folder(t, adapter.config, changed), base)
				return err
			})
		}
	}
}
