package tokenizer

import (
	"fmt"
	"strings"
)

// normalizer is a list of rewriting steps, applied in order.
type normalizer struct {
	steps    []func(string) string
	shortens bool // a step may make a text shorter
}

func (n *normalizer) apply(text string) string {
	for _, step := range n.steps {
		text = step(text)
	}
	return text
}

// newNormalizer builds the steps of tokenizer.json's normalizer: Prepend, Replace and sequences of them.
func newNormalizer(c *component) (normalizer, error) {
	var n normalizer
	if c == nil {
		return n, nil
	}
	switch c.Type {
	case "Sequence":
		for i := range c.Normalizers {
			more, err := newNormalizer(&c.Normalizers[i])
			if err != nil {
				return n, err
			}
			n.steps, n.shortens = append(n.steps, more.steps...), n.shortens || more.shortens
		}
		return n, nil
	case "Prepend":
		n.steps = append(n.steps, func(text string) string {
			if text == "" {
				return ""
			}
			return c.Prepend + text
		})
		return n, nil
	case "Replace":
		replace, err := newReplace(c)
		n.steps, n.shortens = append(n.steps, replace), len(c.Content) < len(c.Pattern.String)
		return n, err
	}
	return n, fmt.Errorf("type %q is not supported", c.Type)
}

// newReplace builds a Replace step, which both normalizers and decoders have.
func newReplace(c *component) (func(string) string, error) {
	if c.Pattern.String == "" {
		return nil, fmt.Errorf("a Replace whose pattern is not a plain string is not supported")
	}
	return func(text string) string { return strings.ReplaceAll(text, c.Pattern.String, c.Content) }, nil
}
