package lora

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

// TestReadCopies: PEFT saves the base's own matrices beside adapters of them. An
// exact copy, in any type, is left out; anything else is refused.
func TestReadCopies(t *testing.T) {
	r := random(t)
	base := testBase(shaders.BF16)
	own := map[Site]checkpoint.Tensor{}
	for _, s := range []Site{EmbedTokens, LMHead} {
		own[s] = matrix(r, s.module(0)+".base_layer.weight", checkpoint.BF16, base.Vocab, base.Out[EmbedTokens])
	}
	base.Table = func(s Site) (checkpoint.Tensor, error) { return own[s], nil }
	encode := func(tensor checkpoint.Tensor, dtype checkpoint.DType, to shaders.Type) checkpoint.Tensor {
		tensor.Type, tensor.Data = dtype, to.Encode(shaders.BF16.Decode(tensor.Data))
		return tensor
	}
	with := func(copies ...checkpoint.Tensor) fstest.MapFS {
		return folder(t, plainConfig(2, "embed_tokens", "lm_head"), slices.Concat(
			matrices(r, base, 0, EmbedTokens, 2, checkpoint.F32), matrices(r, base, 0, LMHead, 2, checkpoint.F32), copies))
	}
	for _, copies := range [][]checkpoint.Tensor{
		{own[EmbedTokens]}, {own[EmbedTokens], own[LMHead]},
		{encode(own[LMHead], checkpoint.F32, shaders.F32)}, {encode(own[EmbedTokens], checkpoint.F16, shaders.F16)},
	} {
		a, err := read(with(copies...), base)
		require.NoError(t, err)
		require.Equal(t, Targets{EmbedTokens: true, LMHead: true}, a.Targets)
	}

	changed := own[EmbedTokens]
	changed.Data = slices.Clone(changed.Data)
	changed.Data[len(changed.Data)-1] ^= 1
	resized := own[LMHead]
	resized.Shape = []int{base.Vocab + 1, resized.Shape[1]}
	resized.Data = append(slices.Clone(resized.Data), make([]byte, 2*resized.Shape[1])...)
	random := base
	random.Table = nil
	for _, c := range []struct {
		base Base
		copy checkpoint.Tensor
		want string
	}{
		{base, changed, `model.embed_tokens.base_layer.weight": it differs from the base model's`},
		{base, encode(changed, checkpoint.F32, shaders.F32), "it differs from the base model's"},
		{base, resized, `lm_head.base_layer.weight": shape [101 20], want [100 20] (tokens of the base model, features)`},
		{random, own[LMHead], "the base model has random weights"},
	} {
		_, err := read(with(c.copy), c.base)
		require.ErrorContains(t, err, c.want)
		require.ErrorIs(t, err, ErrRefused)
	}
	_, err := read(folder(t, plainConfig(2, "q_proj"), append(matrices(r, base, 0, Q, 2, checkpoint.F32), own[LMHead])), base)
	require.ErrorContains(t, err, "beside an adapter that leaves their module alone")
}

// TestCopiesAreComparedToTheEnd compares matrices of several blocks, the last one
// not full.
func TestCopiesAreComparedToTheEnd(t *testing.T) {
	const rows, columns = 3, copyBlock/2 + 7
	r := random(t)
	own := matrix(r, "own", checkpoint.BF16, rows, columns)
	for _, dtype := range []checkpoint.DType{checkpoint.BF16, checkpoint.F32} {
		other := own
		other.Type, other.Data = dtype, kernelTypes[dtype].Encode(shaders.BF16.Decode(own.Data))
		var file bytes.Buffer
		require.NoError(t, checkpoint.Encode(&file, []checkpoint.Tensor{other}, nil))
		size, begin := int64(file.Len()), file.Len()-len(other.Data)
		compare := func(data []byte) (bool, error) {
			header, err := checkpoint.ReadHeader(bytes.NewReader(data), size)
			require.NoError(t, err)
			entry, ok := header.Entry(own.Name)
			require.True(t, ok)
			return isCopy(entry, own)
		}
		same, err := compare(file.Bytes())
		require.NoError(t, err)
		require.True(t, same)
		for _, i := range []int{0, copyBlock * dtype.Size(), len(other.Data) - 1, r.IntN(len(other.Data))} {
			changed := slices.Clone(file.Bytes())
			changed[begin+i] ^= 1
			same, err = compare(changed)
			require.NoError(t, err)
			require.False(t, same, "byte %d", i)
		}
		for _, left := range []int{0, copyBlock * dtype.Size(), len(other.Data) - 1} {
			_, err = compare(file.Bytes()[:begin+left])
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		}
	}
}
