package chat

import (
	"fmt"
	"slices"
	"strconv"
)

const (
	// mostTemplate is how many bytes a template may have.
	mostTemplate = 1 << 17
	// mostNested is how deeply a template's tags and brackets may be nested: they are read by recursion, and Go cannot recover from a
	// stack that overflows.
	mostNested = 200
)

// parser reads tokens as Jinja's parser does, one method for each of Jinja's levels of precedence. The first error is kept, and from
// then on the parser sees the end of the template only, so no method needs to look for errors.
type parser struct {
	tokens []token // the last one is the endToken
	nested int
	loops  int // that {% break %} could leave
	block  *block
	blocks []*block // all there are
	// conditions counts the {% if %}s in the current block around what is read.
	conditions int
	err        error
}

// parse reads a template's text. What Jinja understands but this package does not is an error.
func parse(text string) (*block, error) {
	if len(text) > mostTemplate {
		return nil, fmt.Errorf("%d bytes, more than %d", len(text), mostTemplate)
	}
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	whole := p.open()
	whole.nodes, _ = p.body()
	for _, b := range p.blocks {
		b.hide()
	}
	return whole, p.err
}

func (p *parser) fail(format string, values ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("line %d: %w", p.token().line, fmt.Errorf(format, values...))
	}
	p.tokens = p.tokens[len(p.tokens)-1:]
}

// expected fails because the next token is something else.
func (p *parser) expected(what string) { p.fail("expected %s, found %v", what, p.token()) }

// token is the next one.
func (p *parser) token() token { return p.tokens[0] }

func (p *parser) next() token {
	t := p.token()
	if t.kind != endToken {
		p.tokens = p.tokens[1:]
	}
	return t
}

// nest enters something that may contain itself; what it returns leaves it.
func (p *parser) nest() (leave func()) {
	if p.nested++; p.nested > mostNested {
		p.fail("expected at most %d tags and brackets inside of each other, found more", mostNested)
	}
	return func() { p.nested-- }
}

// at says whether the next token is of a kind and one of the texts; without texts any will do.
func (p *parser) at(kind tokenKind, texts ...string) bool {
	t := p.token()
	return t.kind == kind && (len(texts) == 0 || slices.Contains(texts, t.text))
}

// atSecond looks at the token behind the next one, which is not the last.
func (p *parser) atSecond(kind tokenKind, text string) bool {
	return p.tokens[1].kind == kind && p.tokens[1].text == text
}

func (p *parser) skip(kind tokenKind, text string) bool {
	if !p.at(kind, text) {
		return false
	}
	p.next()
	return true
}

func (p *parser) skipOperator(text string) bool { return p.skip(operatorToken, text) }

func (p *parser) expectOperator(text string) {
	if !p.skipOperator(text) {
		p.expected(strconv.Quote(text))
	}
}

// expectName returns the next token's text, which has to be a name.
func (p *parser) expectName(what string) string {
	if !p.at(nameToken) {
		p.expected(what)
	}
	return p.next().text
}

// expectTagEnd reads the end of a tag.
func (p *parser) expectTagEnd() {
	if !p.skip(tagEnd, "%}") {
		p.expected(`"%}"`)
	}
}
