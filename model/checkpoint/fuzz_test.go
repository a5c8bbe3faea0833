package checkpoint

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzParseBytes: what is accepted covers the data exactly and survives a round
// trip.
func FuzzParseBytes(f *testing.F) {
	for _, c := range malformed {
		if n := len(c.file); n >= 8 && n < 1<<10 {
			length := min(binary.LittleEndian.Uint64(c.file), uint64(n-8))
			f.Add(string(c.file[8:8+length]), c.file[8+length:])
		}
	}
	f.Add(`{"__metadata__":{"k":"v"},`+entryA+`}`, make([]byte, 8))
	f.Add(`{"b":{"dtype":"BF16","shape":[2,1],"data_offsets":[8,12]},`+entryA+`}`, make([]byte, 12))
	f.Fuzz(func(t *testing.T, header string, data []byte) {
		file := append(raw(header, 0), data...)
		parsed, err := ParseBytes(file)
		if err != nil {
			return
		}
		var tensors []Tensor
		total := 0
		for _, name := range parsed.Names() {
			x, err := parsed.Tensor(name)
			require.NoError(t, err)
			size, err := byteSize(x.Type, x.Shape)
			require.NoError(t, err)
			require.Len(t, x.Data, size)
			tensors = append(tensors, x)
			total += size
		}
		require.LessOrEqual(t, total, len(file)-8)
		var again bytes.Buffer
		require.NoError(t, Encode(&again, tensors, parsed.Metadata))
		reparsed, err := ParseBytes(again.Bytes())
		require.NoError(t, err)
		require.Equal(t, parsed, reparsed)
	})
}

// FuzzParseConfig: what is accepted has sizes that multiply without overflow and
// frequencies that are numbers.
func FuzzParseConfig(f *testing.F) {
	f.Add(tiny(f, nil))
	f.Add(tiny(f, map[string]any{"rope_scaling": map[string]any{"type": "linear", "factor": 2}}))
	f.Add(tiny(f, map[string]any{"rope_parameters": map[string]any{
		"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 32,
	}}))
	f.Add(tiny(f, map[string]any{"architectures": []string{"MistralForCausalLM"}, "sliding_window": 64, "head_dim": 8, "eos_token_id": []int{1, 2}}))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConfig(text)
		if err != nil {
			return
		}
		for _, size := range []int{c.HiddenSize, c.IntermediateSize, c.VocabSize, c.MaxPositions, c.Heads * c.HeadDim, c.KVHeads * c.HeadDim} {
			require.Positive(t, size)
			require.LessOrEqual(t, size, maxSize)
		}
		require.Zero(t, c.Heads%c.KVHeads)
		require.Contains(t, []DType{F32, F16, BF16}, c.Type)
		for _, x := range RopeFrequencies(c) {
			require.False(t, math.IsNaN(x) || math.IsInf(x, 0) || x < 0, "frequency %v of %+v", x, c.Rope)
		}
	})
}

// FuzzParseIndex: what is accepted names files of the folder itself.
func FuzzParseIndex(f *testing.F) {
	f.Add(index(f, map[string]string{"a": "a.safetensors", "b": "b.safetensors"}))
	f.Add([]byte(`{"weight_map":{"a":"../a.safetensors"}}`))
	f.Add([]byte(`{"metadata":{"x":[{}]},"weight_map":{"a":"a.safetensors"},"y":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		shards, err := parseIndex(text)
		if err != nil {
			return
		}
		require.NotEmpty(t, shards)
		for shard, tensors := range shards {
			require.NotContains(t, shard, "/")
			require.NotEmpty(t, tensors)
		}
	})
}
