package checkpoint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Weight is a tensor that a model of some configuration consists of.
type Weight struct {
	Name  string
	Shape []int // [out, in] for a matrix
}

// Weights lists the tensors of a model of this configuration in the order in
// which they are used.
func (c Config) Weights() []Weight {
	h, q, kv := c.HiddenSize, c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	list := []Weight{{"model.embed_tokens.weight", []int{c.VocabSize, h}}}
	for layer := range c.Layers {
		add := func(name string, shape ...int) {
			list = append(list, Weight{fmt.Sprintf("model.layers.%d.%s.weight", layer, name), shape})
		}
		add("input_layernorm", h)
		add("self_attn.q_proj", q, h)
		add("self_attn.k_proj", kv, h)
		add("self_attn.v_proj", kv, h)
		add("self_attn.o_proj", h, q)
		add("post_attention_layernorm", h)
		add("mlp.gate_proj", c.IntermediateSize, h)
		add("mlp.up_proj", c.IntermediateSize, h)
		add("mlp.down_proj", h, c.IntermediateSize)
	}
	list = append(list, Weight{"model.norm.weight", []int{h}})
	if !c.TieEmbeddings {
		list = append(list, Weight{"lm_head.weight", []int{c.VocabSize, h}})
	}
	return list
}

// maxProblems bounds what Check reports.
const maxProblems = 10

// Check compares the tensors with what the configuration asks for. The error
// names missing and unexpected tensors, wrong shapes and unsupported types.
func (c *Checkpoint) Check() error {
	var problems []error
	expected := map[string]bool{}
	for _, w := range c.config.Weights() {
		expected[w.Name] = true
		if err := c.checkWeight(w); err != nil {
			problems = append(problems, err)
		}
	}
	for _, name := range c.Names() {
		if !expected[name] && !unused(name) {
			problems = append(problems, fmt.Errorf("tensor %q is not part of the model", name))
		}
	}
	if n := len(problems); n > maxProblems {
		problems = append(problems[:maxProblems], fmt.Errorf("and %d more", n-maxProblems))
	}
	if len(problems) > 0 {
		return fmt.Errorf("checkpoint: weights do not fit config.json: %w", errors.Join(problems...))
	}
	return nil
}

func (c *Checkpoint) checkWeight(w Weight) error {
	t, ok := c.tensors[w.Name]
	switch {
	case !ok:
		return fmt.Errorf("tensor %q is missing", w.Name)
	case !slices.Equal(t.Shape, w.Shape):
		return fmt.Errorf("tensor %q: want shape %v, got %v", w.Name, w.Shape, t.Shape)
	case t.Type != F32 && t.Type != F16 && t.Type != BF16:
		return fmt.Errorf("tensor %q: want F32, F16 or BF16, got %s", w.Name, t.Type)
	}
	return nil
}

// unused says whether transformers leaves a tensor aside as well, where the
// configuration does not ask for it: a copy of tied embeddings, and the rotary
// frequencies that its early releases saved.
func unused(name string) bool {
	return name == "lm_head.weight" || strings.HasSuffix(name, ".rotary_emb.inv_freq")
}
