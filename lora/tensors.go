package lora

import (
	"fmt"
	"slices"
	"strings"

	"lorikeet/model/checkpoint"
)

// pair are the two matrices of a site as they are in the file.
type pair struct {
	present bool // the file has them
	in, out int
	a, b    checkpoint.Tensor // [rank][in], [out][rank]
}

const tensorPrefix = "base_model.model."

// collect finds the matrices of each [layer*Sites + site] and checks their
// shapes. A targeted module without matrices is left alone: so does PEFT, whose
// B begins with zeros. Every tensor of the file must be one of them.
func collect(file *checkpoint.File, base Base, settings []setting) ([]pair, error) {
	pairs := make([]pair, len(settings))
	var used []string
	for i := range settings {
		site := Site(i % int(Sites))
		p, err := findPair(file, site.module(i/int(Sites)), base.In[site], base.Out[site], settings[i].rank)
		if err != nil {
			return nil, err
		}
		if p.present {
			used = append(used, p.a.Name, p.b.Name)
		}
		pairs[i] = p
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
func findPair(file *checkpoint.File, module string, in, out, rank int) (pair, error) {
	p := pair{in: in, out: out}
	nameA, nameB := tensorPrefix+module+".lora_A.weight", tensorPrefix+module+".lora_B.weight"
	var errA, errB error
	p.a, errA = file.Tensor(nameA)
	p.b, errB = file.Tensor(nameB)
	switch {
	case errA != nil && errB != nil:
		return p, nil
	case errA != nil:
		return p, fmt.Errorf("tensor %q is missing beside %q", nameA, nameB)
	case errB != nil:
		return p, fmt.Errorf("tensor %q is missing beside %q", nameB, nameA)
	case rank == 0:
		return p, fmt.Errorf("tensor %q: %s does not target the module", nameA, configFile)
	}
	p.present = true
	if err := checkTensor(p.a, rank, in, "rank, inputs"); err != nil {
		return p, err
	}
	return p, checkTensor(p.b, out, rank, "outputs, rank")
}

func checkTensor(t checkpoint.Tensor, rows, columns int, meaning string) error {
	if !slices.Equal(t.Shape, []int{rows, columns}) {
		return fmt.Errorf("tensor %q: shape %v, want [%d %d] (%s)", t.Name, t.Shape, rows, columns, meaning)
	}
	switch t.Type {
	case checkpoint.F32, checkpoint.F16, checkpoint.BF16:
		return nil
	}
	return fmt.Errorf("tensor %q: dtype %s, want F32, F16 or BF16", t.Name, t.Type)
}

func (p *pair) convert(to *Weights, base Base) error {
	if err := pack(to.A, base.Type, p.a); err != nil {
		return fmt.Errorf("tensor %q: %w", p.a.Name, err)
	}
	if err := packTransposed(to.B, base.Type, p.b); err != nil {
		return fmt.Errorf("tensor %q: %w", p.b.Name, err)
	}
	return nil
}

// whyUnexpected says what a tensor that has no place seems to be.
func whyUnexpected(name string) string {
	if !strings.HasPrefix(name, tensorPrefix) {
		return "names must begin with " + tensorPrefix
	}
	for _, kind := range [][2]string{
		{"lora_magnitude_vector", "DoRA is not supported"},
		{"lora_embedding_", "trained embeddings are not supported"},
		{"embed_tokens", "trained embeddings are not supported"},
		{"lm_head", "changes of the output head are not supported"},
		{".bias", "biases are not supported"},
		{"lora_", "the base model has no such module"},
	} {
		if strings.Contains(name, kind[0]) {
			return kind[1]
		}
	}
	return "not a LoRA weight; modules saved whole are not supported"
}
