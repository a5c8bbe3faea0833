package tokenizer

import (
	"fmt"
	"strings"
)

// normalizer is a list of rewriting steps, applied in order.
type normalizer []func(string) string

func (n normalizer) apply(text string) string {
	for _, step := range n {
		text = step(text)
	}
	return text
}

// newNormalizer builds the steps of tokenizer.json's normalizer: Prepend, Replace and sequences of them.
func newNormalizer(c *component) (normalizer, error) {
	if c == nil {
		return nil, nil
	}
	switch c.Type {
	case "Sequence":
		var steps normalizer
		for i := range c.Normalizers {
			more, err := newNormalizer(&c.Normalizers[i])
			if err != nil {
				return nil, err
			}
			steps = append(steps, more...)
		}
		return steps, nil
	case "Prepend":
		return normalizer{func(text string) string {
			if text == "" {
				return ""
			}
			return c.Prepend + text
		}}, nil
	case "Replace":
		replace, err := newReplace(c)
		return normalizer{replace}, err
	}
	return nil, fmt.Errorf("type %q is not supported", c.Type)
}

// newReplace builds a Replace step, which both normalizers and decoders have.
func newReplace(c *component) (func(string) string, error) {
	if c.Pattern.String == "" {
		return nil, fmt.Errorf("a Replace whose pattern is not a plain string is not supported")
	}
	return func(text string) string { return strings.ReplaceAll(text, c.Pattern.String, c.Content) }, nil
}
