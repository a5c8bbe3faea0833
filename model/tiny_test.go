package model

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/lora"
	"lorikeet/model/checkpoint"
)

// tinyModel is a random checkpoint small enough for a float64 oracle.
type tinyModel struct {
	name                         string
	hidden, inner, layers, vocab int
	heads, kvHeads, headDim      int
	tied                         bool
	dtype                        checkpoint.DType
	ropeScaling                  map[string]any
	limit                        float64 // largest difference of a log probability
}

var tinyModels = []tinyModel{
	{name: "f32 grouped", hidden: 64, inner: 96, layers: 2, vocab: 99, heads: 4, kvHeads: 2, headDim: 16, dtype: checkpoint.F32, limit: 2e-5},
	{name: "bf16 odd widths tied", hidden: 100, inner: 52, layers: 2, vocab: 67, heads: 8, kvHeads: 1, headDim: 8, tied: true, dtype: checkpoint.BF16, limit: 8e-2},
	{name: "f16 llama3 scaling", hidden: 64, inner: 40, layers: 1, vocab: 130, heads: 2, kvHeads: 2, headDim: 32, dtype: checkpoint.F16, limit: 1e-2,
		ropeScaling: map[string]any{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}},
}

// write makes the checkpoint's folder and returns its tensors.
func (m tinyModel) write(t testing.TB, r *rand.Rand) (*checkpoint.Checkpoint, []checkpoint.Tensor) {
	dir := t.TempDir()
	config := map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "hidden_act": "silu",
		"hidden_size": m.hidden, "intermediate_size": m.inner, "num_hidden_layers": m.layers, "vocab_size": m.vocab,
		"num_attention_heads": m.heads, "num_key_value_heads": m.kvHeads, "head_dim": m.headDim,
		"max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": m.tied,
		"torch_dtype":  map[checkpoint.DType]string{checkpoint.F32: "float32", checkpoint.F16: "float16", checkpoint.BF16: "bfloat16"}[m.dtype],
		"bos_token_id": 0, "eos_token_id": 1,
	}
	if m.ropeScaling != nil {
		config["rope_scaling"] = m.ropeScaling
	}
	text, err := json.Marshal(config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644))
	var tensors []checkpoint.Tensor
	add := func(name string, rows, columns int) {
		shape, scale, bias := []int{rows, columns}, 1/math.Sqrt(float64(columns)), 0.0
		if rows == 0 {
			rows, shape, scale, bias = 1, []int{columns}, 0.3, 1
		}
		values := make([]float32, rows*columns)
		for i := range values {
			values[i] = float32(bias + scale*r.NormFloat64())
		}
		kind, err := typeOf(m.dtype)
		require.NoError(t, err)
		tensors = append(tensors, checkpoint.Tensor{Name: name, Type: m.dtype, Shape: shape, Data: kind.Encode(values)})
	}
	add("model.embed_tokens.weight", m.vocab, m.hidden)
	if !m.tied {
		add("lm_head.weight", m.vocab, m.hidden)
	}
	add("model.norm.weight", 0, m.hidden)
	for l := range m.layers {
		layer := func(name string, rows, columns int) {
			add(fmt.Sprintf("model.layers.%d.%s.weight", l, name), rows, columns)
		}
		layer("input_layernorm", 0, m.hidden)
		layer("post_attention_layernorm", 0, m.hidden)
		layer("self_attn.q_proj", m.heads*m.headDim, m.hidden)
		layer("self_attn.k_proj", m.kvHeads*m.headDim, m.hidden)
		layer("self_attn.v_proj", m.kvHeads*m.headDim, m.hidden)
		layer("self_attn.o_proj", m.hidden, m.heads*m.headDim)
		layer("mlp.gate_proj", m.inner, m.hidden)
		layer("mlp.up_proj", m.inner, m.hidden)
		layer("mlp.down_proj", m.hidden, m.inner)
	}
	require.NoError(t, checkpoint.Write(filepath.Join(dir, "model.safetensors"), tensors, nil))
	c, err := checkpoint.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c, tensors
}

// adapter makes a random adapter of the given rank on some kinds of site, those of
// layers with or without a bias.
func (m tinyModel) adapter(r *rand.Rand, s Shape, rank int, bias bool, kinds ...lora.Site) *lora.Adapter {
	base := s.Sites()
	sites := make([]lora.Weights, base.SitesPerSlot())
	matrix := func(rows, columns int, scale float64) []byte {
		values := make([]float32, rows*pad(columns))
		for row := range rows {
			for i := range columns {
				values[row*pad(columns)+i] = float32(scale * r.NormFloat64())
			}
		}
		return s.Type.Encode(values)
	}
	for l := range s.Layers {
		for _, kind := range kinds {
			w := lora.Weights{Rank: rank, Scale: 0.5 + r.Float32(), Bias: bias && kind != lora.EmbedTokens}
			w.A = matrix(rank, base.In[kind], 1/math.Sqrt(float64(base.In[kind])))
			if kind == lora.EmbedTokens { // one column is picked, not a sum of all
				w.A = matrix(rank, base.In[kind], 1)
			}
			w.B = matrix(w.Products(), base.Out[kind], 0.5/math.Sqrt(float64(rank)))
			sites[base.Index(l, kind)] = w
		}
	}
	return lora.NewAdapter(fmt.Sprint("rank ", rank), "", s.Type, sites, base)
}
