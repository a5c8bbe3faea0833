package parity

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/lora"
	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
	"lorikeet/shaders/cases"
)

var modules = [lora.Sites]string{
	"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
}

// merge writes a copy of the checkpoint with W + scale·B·A in the place of every W that the adapter changes.
func (s *served) merge(t *testing.T, folder fs.FS, a *lora.Adapter) fs.FS {
	site := map[string]int{}
	for layer := range s.shape.Layers {
		for i, module := range modules {
			site[fmt.Sprintf("model.layers.%d.%s.weight", layer, module)] = layer*int(lora.Sites) + i
		}
	}
	var tensors []checkpoint.Tensor
	for _, name := range s.weights.Names() {
		tensor, err := s.weights.Tensor(name)
		require.NoError(t, err)
		if i, ok := site[name]; ok && a.Sites[i].Rank > 0 {
			tensor.Data = s.add(tensor, &a.Sites[i])
		}
		tensors = append(tensors, tensor)
	}
	to := t.TempDir()
	config, err := fs.ReadFile(folder, "config.json")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(to, "config.json"), config, 0o644))
	require.NoError(t, checkpoint.Write(filepath.Join(to, "model.safetensors"), tensors, nil))
	return os.DirFS(to)
}

// add returns w + scale·B·A, summed in float64 and rounded to the model's type.
func (s *served) add(w checkpoint.Tensor, site *lora.Weights) []byte {
	out, in := w.Shape[0], w.Shape[1]
	sum := s.shape.Type.Decode(w.Data)
	a, b := s.shape.Type.Decode(site.A), s.shape.Type.Decode(site.B)
	for n := range out {
		for k := range in {
			delta := 0.0
			for r := range site.Rank {
				delta += float64(b[r*cases.Pad8(out)+n]) * float64(a[r*cases.Pad8(in)+k])
			}
			sum[n*in+k] = float32(float64(sum[n*in+k]) + float64(site.Scale)*delta)
		}
	}
	return s.shape.Type.Encode(sum)
}

// withoutB is a copy of an adapter whose B are all zero.
func withoutB(a *lora.Adapter) *lora.Adapter {
	zero := *a
	zero.ID = ^a.ID // no reader gives such a high one
	zero.Sites = append([]lora.Weights(nil), a.Sites...)
	for i := range zero.Sites {
		zero.Sites[i].B = make([]byte, len(zero.Sites[i].B))
	}
	return &zero
}

// slack is how far log probabilities may be from each other where keys and values, or whole weights, are rounded to a type
// from values that differ in the last bits of float32.
var slack = map[shaders.Type]float64{shaders.F32: 1e-4, shaders.F16: 0.02, shaders.BF16: 0.15}
