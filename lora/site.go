package lora

import (
	"fmt"
	"strings"

	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

// Site is a module that an adapter can change: a projection of a layer, the
// embedding or the output head.
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
	Sites // how many a layer has
)

// The sites of no layer, which stand behind all layers in the adapter table. The
// embedding's input is a token, so that its A has a column for each of them.
const (
	EmbedTokens Site = iota + Sites
	LMHead
	Kinds // of sites
)

var siteNames = [Kinds]string{
	"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "embed_tokens", "lm_head",
}

// String is the last part of the name of the site's module.
func (s Site) String() string { return siteNames[s] }

// module is the name that Hugging Face's Llama gives the site in a layer.
func (s Site) module(layer int) string {
	block := "self_attn"
	switch {
	case s == EmbedTokens:
		return "model.embed_tokens"
	case s == LMHead:
		return "lm_head"
	case s >= Gate:
		block = "mlp"
	}
	return fmt.Sprintf("model.layers.%d.%s.%s", layer, block, s)
}

// Base is what an adapter must fit.
type Base struct {
	Layers  int
	In, Out [Kinds]int // features of each site
	Type    shaders.Type
	Vocab   int // tokens; adapters may not add more
	// Table is the base's own matrix of EmbedTokens or LMHead, [Vocab][features].
	// Adapters may come with a copy of it. nil: there is none to compare with.
	Table func(Site) (checkpoint.Tensor, error)
}

// SitesPerSlot is the length of a row of the adapter table.
func (b Base) SitesPerSlot() int { return b.Layers*int(Sites) + int(Kinds-Sites) }

// Index is where a site stands in a row of the adapter table; layer says nothing
// for the sites of no layer.
func (b Base) Index(layer int, s Site) int {
	if s >= Sites {
		layer, s = b.Layers, s-Sites
	}
	return layer*int(Sites) + int(s)
}

// site is what stands at an index of a row; layer is 0 for the sites of no layer.
func (b Base) site(index int) (layer int, s Site) {
	if outer := index - b.Layers*int(Sites); outer >= 0 {
		return 0, Sites + Site(outer)
	}
	return index / int(Sites), Site(index % int(Sites))
}

// Bytes is the most an adapter within the limits takes on the host.
func (b Base) Bytes(l Limits) int64 {
	var elements int64
	for i := range b.SitesPerSlot() {
		if _, s := b.site(i); l.Targets[s] {
			elements += int64(l.MaxRank)*int64(stride(b.In[s])) + int64(l.Products())*int64(stride(b.Out[s]))
		}
	}
	return elements * int64(b.Type.Size())
}

// stride is the row stride of a matrix with n columns, in elements.
func stride(n int) int { return (n + 7) &^ 7 }

// Limits bound the adapters that are taken.
type Limits struct {
	MaxRank int
	Targets Targets
}

// Products is the most products that an expand within the limits sums up: one
// for each rank, and one for a bias.
func (l Limits) Products() int { return l.MaxRank + 1 }

// Targets is a set of sites.
type Targets [Kinds]bool

var targetNames = map[string]Targets{
	"all": allTargets, "all-linear": layerTargets,
	"qkv_proj": attentionInputs, "q_proj": attentionInputs, "k_proj": attentionInputs, "v_proj": attentionInputs,
	"o_proj":       {O: true},
	"gate_up_proj": mlpInputs, "gate_proj": mlpInputs, "up_proj": mlpInputs,
	"down_proj":    {Down: true},
	"embed_tokens": {EmbedTokens: true},
	"lm_head":      {LMHead: true},
}

var (
	layerTargets    = Targets{true, true, true, true, true, true, true}
	allTargets      = layerTargets.Union(Targets{EmbedTokens: true, LMHead: true})
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
		all = all.Union(t)
	}
	return all, nil
}

// Union is the smallest limits that take what either takes.
func (l Limits) Union(other Limits) Limits {
	return Limits{max(l.MaxRank, other.MaxRank), l.Targets.Union(other.Targets)}
}

// Union has the sites of both.
func (t Targets) Union(other Targets) Targets {
	for s := range Kinds {
		t[s] = t[s] || other[s]
	}
	return t
}

// missing lists the sites of wanted that are not in t.
func (t Targets) missing(wanted Targets) []string {
	var names []string
	for s := range Kinds {
		if wanted[s] && !t[s] {
			names = append(names, s.String())
		}
	}
	return names
}
