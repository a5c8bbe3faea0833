package tokenizer

import "fmt"

// template is what Encode puts round a text when asked to.
type template struct {
	before, after []int32
}

// templatePiece is one entry of a TemplateProcessing template: either the text or a special token.
type templatePiece struct {
	Sequence *struct {
		ID string `json:"id"`
	} `json:"Sequence"`
	SpecialToken *struct {
		ID string `json:"id"`
	} `json:"SpecialToken"`
}

// wrap adds what tokenizer.json's post_processor puts round the text: TemplateProcessing, ByteLevel (which only concerns offsets)
// and sequences of them, later ones outside.
func (t *template) wrap(c *component) error {
	if c == nil {
		return nil
	}
	switch c.Type {
	case "ByteLevel":
		return nil
	case "Sequence":
		for i := range c.Processors {
			if err := t.wrap(&c.Processors[i]); err != nil {
				return err
			}
		}
		return nil
	case "TemplateProcessing":
		return t.wrapTemplate(c)
	}
	return fmt.Errorf("type %q is not supported", c.Type)
}

func (t *template) wrapTemplate(c *component) error {
	var before, after []int32
	texts := 0
	for _, piece := range c.Single {
		switch {
		case piece.Sequence != nil && piece.Sequence.ID == "A":
			texts++
		case piece.SpecialToken != nil:
			name := piece.SpecialToken.ID
			token, ok := c.SpecialTokens[name]
			if !ok {
				return fmt.Errorf("special token %q is not defined", name)
			}
			if texts == 0 {
				before = append(before, token.IDs...)
			} else {
				after = append(after, token.IDs...)
			}
		default:
			return fmt.Errorf("a template piece is neither sequence A nor a special token")
		}
	}
	if texts != 1 {
		return fmt.Errorf("the template has the text %d times", texts)
	}
	t.before = append(before, t.before...)
	t.after = append(t.after, after...)
	return nil
}
