package lora

import (
	"fmt"
	"strings"

	"lorikeet/shaders"
)

// Site is a projection of a layer that an adapter can change.
type Site int

// The sites of a layer, in the order of the adapter table. Q, K, V and Gate, Up
// are neighbours because they read the same input.
const (
	Q Site = iota
	K
	V
	O
	Gate
	Up
	Down
	Sites // how many there are
)

var siteNames = [Sites]string{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}

// String is the last part of the name of the site's module.
func (s Site) String() string { return siteNames[s] }

// module is the name that Hugging Face's Llama gives the site in a layer.
func (s Site) module(layer int) string {
	block := "self_attn"
	if s >= Gate {
		block = "mlp"
	}
	return fmt.Sprintf("model.layers.%d.%s.%s", layer, block, s)
}

// Base is what an adapter must fit.
type Base struct {
	Layers  int
	In, Out [Sites]int // features of each site
	Type    shaders.Type
	Vocab   int // tokens; adapters may not add more
}

// Bytes is the most an adapter within the limits takes on the host.
func (b Base) Bytes(l Limits) int64 {
	var columns int64
	for s := range Sites {
		if l.Targets[s] {
			columns += int64(stride(b.In[s]) + stride(b.Out[s]))
		}
	}
	return columns * int64(b.Layers) * int64(l.MaxRank) * int64(b.Type.Size())
}

// stride is the row stride of a matrix with n columns, in elements.
func stride(n int) int { return (n + 7) &^ 7 }

// Limits bound the adapters that are taken.
type Limits struct {
	MaxRank int
	Targets Targets
}

// Targets is a set of sites.
type Targets [Sites]bool

var targetNames = map[string]Targets{
	"all": allTargets, "all-linear": allTargets,
	"qkv_proj": attentionInputs, "q_proj": attentionInputs, "k_proj": attentionInputs, "v_proj": attentionInputs,
	"o_proj":       {O: true},
	"gate_up_proj": mlpInputs, "gate_proj": mlpInputs, "up_proj": mlpInputs,
	"down_proj": {Down: true},
}

var (
	allTargets      = Targets{true, true, true, true, true, true, true}
	attentionInputs = Targets{Q: true, K: true, V: true}
	mlpInputs       = Targets{Gate: true, Up: true}
)

// ParseTargets reads the names of --lora-target-modules. As in SGLang, naming
// one of q, k, v or of gate, up allows all of them, and "all" allows everything.
func ParseTargets(names []string) (Targets, error) {
	var all Targets
	for _, name := range names {
		t, ok := targetNames[name]
		if !ok {
			return all, fmt.Errorf("lora: target module %q: adapters can change %s (or all)", name, strings.Join(siteNames[:], ", "))
		}
		all = all.union(t)
	}
	return all, nil
}

// Union is the smallest limits that take what either takes.
func (l Limits) Union(other Limits) Limits {
	return Limits{max(l.MaxRank, other.MaxRank), l.Targets.union(other.Targets)}
}

func (t Targets) union(other Targets) Targets {
	for s := range Sites {
		t[s] = t[s] || other[s]
	}
	return t
}

// missing lists the sites of wanted that are not in t.
func (t Targets) missing(wanted Targets) []string {
	var names []string
	for s := range Sites {
		if wanted[s] && !t[s] {
			names = append(names, s.String())
		}
	}
	return names
}
