package parity

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

const embedding, head = "model.embed_tokens.weight", "lm_head.weight"

// merge writes a copy of the checkpoint with W + scale·B·A in the place of every W that the adapter changes. In the copy, the
// embedding and the output head are matrices of their own: an adapter changes one of them without the other.
func (s *served) merge(t *testing.T, folder fs.FS, a *lora.Adapter) fs.FS {
	base := s.shape.Sites()
	changed := map[string]int{embedding: base.Index(0, lora.EmbedTokens), head: base.Index(0, lora.LMHead)}
	for layer := range s.shape.Layers {
		for site, module := range modules {
			changed[fmt.Sprintf("model.layers.%d.%s.weight", layer, module)] = base.Index(layer, lora.Site(site))
		}
	}
	var tensors []checkpoint.Tensor
	for _, tensor := range s.untied(t) {
		if i, ok := changed[tensor.Name]; ok && a.Sites[i].Rank > 0 {
			tensor.Data = s.add(tensor, &a.Sites[i], tensor.Name == embedding)
		}
		tensors = append(tensors, tensor)
	}
	to := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(to, "config.json"), untiedConfig(t, folder), 0o644))
	require.NoError(t, checkpoint.Write(filepath.Join(to, "model.safetensors"), tensors, nil))
	return os.DirFS(to)
}

// untied are the checkpoint's tensors, with an output head even where it is the embedding.
func (s *served) untied(t *testing.T) []checkpoint.Tensor {
	var tensors []checkpoint.Tensor
	for _, name := range s.weights.Names() {
		tensor, err := s.weights.Tensor(name)
		require.NoError(t, err)
		if name == embedding && s.weights.Config().TieEmbeddings {
			tied := tensor
			tied.Name = head
			tensors = append(tensors, tied)
		}
		tensors = append(tensors, tensor)
	}
	return tensors
}

func untiedConfig(t *testing.T, folder fs.FS) []byte {
	text, err := fs.ReadFile(folder, "config.json")
	require.NoError(t, err)
	var config map[string]any
	require.NoError(t, json.Unmarshal(text, &config))
	config["tie_word_embeddings"] = false
	text, err = json.Marshal(config)
	require.NoError(t, err)
	return text
}

// add returns w + scale·B·A, summed in float64 and rounded to the model's type. The embedding's rows are its inputs.
func (s *served) add(w checkpoint.Tensor, site *lora.Weights, turned bool) []byte {
	rows, columns := w.Shape[0], w.Shape[1]
	sum := s.shape.Type.Decode(w.Data)
	a, b := s.shape.Type.Decode(site.A), s.shape.Type.Decode(site.B)
	byRow, byColumn := b, a
	if turned {
		byRow, byColumn = a, b
	}
	for n := range rows {
		for k := range columns {
			delta := 0.0
			for r := range site.Rank {
				delta += float64(byRow[r*cases.Pad8(rows)+n]) * float64(byColumn[r*cases.Pad8(columns)+k])
			}
			sum[n*columns+k] = float32(float64(sum[n*columns+k]) + float64(site.Scale)*delta)
		}
	}
	return s.shape.Type.Encode(sum)
}

// everywhere changes every module: it has the layers of one adapter, and the embedding and the output head of others.
func (p *properties) everywhere(table *table, entry modelEntry) *lora.Adapter {
	names, base := table.served(entry)[1:], p.shape.Sites()
	sites := make([]lora.Weights, base.SitesPerSlot())
	copy(sites, p.adapters[slices.Index(names, "all-linear")].Sites)
	for name, site := range map[string]lora.Site{"embeddings": lora.EmbedTokens, "output-head": lora.LMHead} {
		if i := slices.Index(names, name); i >= 0 {
			at := base.Index(0, site)
			sites[at] = p.adapters[i].Sites[at]
		}
	}
	return lora.NewAdapter("everywhere", "", p.shape.Type, sites, base)
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

// slack is how far log probabilities may be from each other where keys and values are rounded to a type from values that
// differ in the last bits of float32.
var slack = map[shaders.Type]float64{shaders.F32: 1e-4, shaders.F16: 0.02, shaders.BF16: 0.15}

// mergedSlack is the same where every weight is rounded to a type once more, those of the output head among them.
var mergedSlack = map[shaders.Type]float64{shaders.F32: 1e-4, shaders.F16: 0.05, shaders.BF16: 0.4}
