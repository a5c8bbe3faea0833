package lora

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute/computetest"
	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

// large has the shape of Llama-3.1-8B.
var large = Base{
	Layers: 32, Type: shaders.BF16, Vocab: 128256,
	In:  [Kinds]int{4096, 4096, 4096, 4096, 4096, 4096, 14336, 128256, 4096},
	Out: [Kinds]int{4096, 1024, 1024, 4096, 14336, 14336, 4096, 4096, 128256},
}

// writeLarge writes an adapter of rank 16 at every site of the large base.
func writeLarge(b *testing.B, dtype checkpoint.DType) string {
	config := []byte(`{"peft_type": "LORA", "r": 16, "target_modules": "all-linear"}`)
	var tensors []checkpoint.Tensor
	add := func(name string, shape ...int) {
		data := bytes.Repeat([]byte{0x3c}, shape[0]*shape[1]*dtype.Size())
		tensors = append(tensors, checkpoint.Tensor{Name: tensorPrefix + name, Type: dtype, Shape: shape, Data: data})
	}
	for layer := range large.Layers {
		for site := range Sites {
			add(site.module(layer)+".lora_A.weight", 16, large.In[site])
			add(site.module(layer)+".lora_B.weight", large.Out[site], 16)
		}
	}
	place := b.TempDir()
	require.NoError(b, os.WriteFile(filepath.Join(place, configFile), config, 0o600))
	require.NoError(b, checkpoint.Write(filepath.Join(place, weightsFile), tensors, nil))
	return place
}

// BenchmarkRead reads a rank-16 adapter for an 8B model from the page cache.
func BenchmarkRead(b *testing.B) {
	for _, dtype := range dtypes {
		b.Run(string(dtype), func(b *testing.B) {
			place := writeLarge(b, dtype)
			b.ReportAllocs()
			for b.Loop() {
				a, err := Read("a", place, nil, large, testLimits)
				require.NoError(b, err)
				b.SetBytes(a.Bytes())
			}
		})
	}
}

// BenchmarkPlace uploads that adapter.
func BenchmarkPlace(b *testing.B) {
	a, err := Read("a", writeLarge(b, checkpoint.BF16), nil, large, testLimits)
	require.NoError(b, err)
	d := computetest.Device(b)
	r, err := NewResidency(d, large, 1)
	require.NoError(b, err)
	defer r.Close()
	m := newTestMemory(b, d, 1, 1<<17)
	require.NoError(b, r.Attach(m, testLimits))
	b.SetBytes(a.Bytes())
	for b.Loop() {
		_, err := r.PlaceAndWait(a, 0)
		require.NoError(b, err)
		r.Drop(a.ID)
	}
}
