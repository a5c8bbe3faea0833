package lora

import (
	"fmt"
	"slices"
	"strings"

	"lorikeet/model/checkpoint"
)

// pair are the two matrices of a site, and its bias, as they are in the file.
type pair struct {
	present bool // the file has them
	in, out int
	a, b    checkpoint.Entry  // [rank][in], [out][rank]
	bias    *checkpoint.Entry // [out]; nil: there is none
}

// rowsOfB is what Weights.B has: a bias is its last row.
func (p *pair) rowsOfB() int {
	if p.bias != nil {
		return p.b.Shape[1] + 1
	}
	return p.b.Shape[1]
}

const tensorPrefix = "base_model.model."

// collect finds the matrices of each [Base.Index] and checks their shapes. A
// targeted module without matrices is left alone: so does PEFT, whose
// B begins with zeros. Every tensor of the file must be one of them.
func collect(file *checkpoint.Header, base Base, settings []setting) ([]pair, error) {
	pairs := make([]pair, len(settings))
	var used []string
	for i := range settings {
		layer, site := base.site(i)
		p, err := findPair(file, site, layer, base, settings[i])
		if err != nil {
			return nil, err
		}
		used = append(used, p.names()...)
		pairs[i] = p
		if site >= Sites && settings[i].rank > 0 {
			copied, err := findCopy(file, site, base)
			if err != nil {
				return nil, err
			}
			used = append(used, copied...)
		}
	}
	slices.Sort(used)
	for _, name := range file.Names() {
		if _, ok := slices.BinarySearch(used, name); !ok {
			return nil, fmt.Errorf("tensor %q: %s", name, whyUnexpected(name))
		}
	}
	if len(used) == 0 {
		return nil, fmt.Errorf("no tensors")
	}
	return pairs, nil
}

// findPair finds the matrices of one module; none is fine, one is not.
func findPair(file *checkpoint.Header, site Site, layer int, base Base, s setting) (pair, error) {
	p := pair{in: base.In[site], out: base.Out[site]}
	nameA, nameB, nameBias := tensorNames(site, layer)
	var hasA, hasB bool
	p.a, hasA = file.Entry(nameA)
	p.b, hasB = file.Entry(nameB)
	switch {
	case !hasA && !hasB:
		return p, nil
	case !hasA:
		return p, fmt.Errorf("tensor %q is missing beside %q", nameA, nameB)
	case !hasB:
		return p, fmt.Errorf("tensor %q is missing beside %q", nameB, nameA)
	case s.rank == 0:
		return p, fmt.Errorf("tensor %q: %s does not target the module", nameA, configFile)
	}
	p.present = true
	if bias, ok := file.Entry(nameBias); ok && s.bias {
		p.bias = &bias
	}
	return p, p.check(site, s.rank)
}

// tensorNames are the names that PEFT gives the tensors of a site. The embedding
// never has a bias.
func tensorNames(site Site, layer int) (a, b, bias string) {
	module := tensorPrefix + site.module(layer)
	if site == EmbedTokens {
		return module + ".lora_embedding_A", module + ".lora_embedding_B", ""
	}
	return module + ".lora_A.weight", module + ".lora_B.weight", module + ".lora_B.bias"
}

// check checks shapes and types.
func (p *pair) check(site Site, rank int) error {
	inputs, outputs := "inputs", "outputs"
	switch site {
	case EmbedTokens:
		inputs = "tokens of the base model"
	case LMHead:
		outputs = "tokens of the base model"
	}
	if p.bias != nil {
		if err := checkTensor(*p.bias, outputs, p.out); err != nil {
			return err
		}
	}
	if err := checkTensor(p.a, "rank, "+inputs, rank, p.in); err != nil {
		return err
	}
	return checkTensor(p.b, outputs+", rank", p.out, rank)
}

// names are those of the tensors that a pair has.
func (p *pair) names() []string {
	switch {
	case !p.present:
		return nil
	case p.bias != nil:
		return []string{p.a.Name, p.b.Name, p.bias.Name}
	}
	return []string{p.a.Name, p.b.Name}
}

func checkTensor(t checkpoint.Entry, meaning string, shape ...int) error {
	if !slices.Equal(t.Shape, shape) {
		return fmt.Errorf("tensor %q: shape %v, want %v (%s)", t.Name, t.Shape, shape, meaning)
	}
	switch t.Type {
	case checkpoint.F32, checkpoint.F16, checkpoint.BF16:
		return nil
	}
	return fmt.Errorf("tensor %q: dtype %s, want F32, F16 or BF16", t.Name, t.Type)
}

// whyUnexpected says what a tensor that has no place seems to be.
func whyUnexpected(name string) string {
	if !strings.HasPrefix(name, tensorPrefix) {
		return "names must begin with " + tensorPrefix
	}
	for _, kind := range [][2]string{
		{"lora_magnitude_vector", "DoRA is not supported"},
		{".lora_B.bias", "it needs lora_bias in " + configFile + ", and lora_A and lora_B beside it"},
		{".bias", "the base model's modules have no bias"},
		{".base_layer.", "weights of the base are not supported beside an adapter that leaves their module alone"},
		{"embed_tokens.weight", "embeddings trained or resized whole are not supported"},
		{"lm_head.weight", "an output head trained or resized whole is not supported"},
		{"lora_", "the base model has no such module"},
	} {
		if strings.Contains(name, kind[0]) {
			return kind[1]
		}
	}
	return "not a LoRA weight; modules saved whole are not supported"
}
