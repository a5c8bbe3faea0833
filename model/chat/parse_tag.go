package chat

import (
	"slices"
	"strconv"
	"strings"
)

// body reads up to a tag with one of the given names and returns that name; it goes on behind the name. Without names it reads up to
// the template's end.
func (p *parser) body(ends ...string) (nodes []node, end string) {
	defer p.nest()()
	for {
		line := p.token().line
		switch {
		case p.at(dataToken):
			nodes = append(nodes, node{line, data(p.next().text)})
		case p.at(outputBegin):
			p.next()
			nodes = append(nodes, node{line, output{p.tuple(p.expression, false)}})
			if !p.skip(outputEnd, "}}") {
				p.expected(`"}}"`)
			}
		case p.at(tagBegin):
			p.next()
			if p.at(nameToken) && slices.Contains(ends, p.token().text) {
				return nodes, p.next().text
			}
			nodes = append(nodes, node{line, p.tag(ends)})
		default:
			if len(ends) > 0 {
				p.expected("the tag " + strings.Join(ends, " or "))
			}
			return nodes, ""
		}
	}
}

// tag reads a tag from its name to its end, and its body. ends are the tags that could end the body that it stands in. No tag reads
// another template, so no template can read files.
func (p *parser) tag(ends []string) statement {
	switch {
	case p.skip(nameToken, "if"):
		return p.ifTag()
	case p.skip(nameToken, "for"):
		return p.forTag()
	case p.skip(nameToken, "set"):
		return p.setTag()
	case p.skip(nameToken, "macro"):
		return p.macroTag()
	case p.skip(nameToken, "generation"):
		p.expectTagEnd()
		return generationTag{p.function(p.open(), "endgeneration")}
	case p.at(nameToken, "break", "continue"):
		return p.leaveTag()
	}
	p.expected("the tag " + strings.Join(append([]string{"if", "for", "set", "macro", "generation", "break", "continue"}, ends...), ", "))
	return generationTag{}
}

// lastBody reads a body, the tag that ends it and that tag's end.
func (p *parser) lastBody(end string) []node {
	nodes, _ := p.body(end)
	p.expectTagEnd()
	return nodes
}

// fill reads the body of a block that is open up to one of the tags and that tag's end, and closes the block. It returns the tag.
func (p *parser) fill(b *block, ends ...string) (end string) {
	defer func(conditions int) { p.conditions = conditions }(p.conditions)
	p.conditions = 0
	b.nodes, end = p.body(ends...)
	p.expectTagEnd()
	p.close()
	return end
}

// function is fill for a block that no {% break %} can leave.
func (p *parser) function(b *block, end string) *block {
	defer func(loops int) { p.loops = loops }(p.loops)
	p.loops = 0
	p.fill(b, end)
	return b
}

func (p *parser) ifTag() statement {
	var t ifTag
	for end := "elif"; end == "elif"; {
		t.conditions = append(t.conditions, p.tuple(p.either, false))
		p.expectTagEnd()
		p.conditions++
		var body []node
		body, end = p.body("elif", "else", "endif")
		p.conditions--
		t.bodies = append(t.bodies, body)
		if end == "else" {
			p.expectTagEnd()
			t.conditions = append(t.conditions, constant{true})
			p.conditions++
			t.bodies = append(t.bodies, p.lastBody("endif"))
			p.conditions--
			return t
		}
	}
	p.expectTagEnd()
	return t
}

func (p *parser) forTag() statement {
	var t forTag
	for more := true; more; more = p.skipOperator(",") {
		if p.at(nameToken, "loop") {
			p.expected("another name")
		}
		t.names = append(t.names, p.target())
	}
	if !p.skip(nameToken, "in") {
		p.expected(strconv.Quote("in"))
	}
	t.items = p.tuple(p.either, false)
	if p.skip(nameToken, "if") {
		p.open(t.names...)
		t.condition = p.expression()
		p.close()
	}
	p.expectTagEnd()
	p.loops++
	t.body = p.open(append(t.names, "loop")...)
	end := p.fill(t.body, "else", "endfor")
	p.loops--
	if end == "else" {
		t.empty = p.open()
		p.fill(t.empty, "endfor")
	}
	return t
}

// target reads a name that can be set.
func (p *parser) target() string {
	if _, ok := constants[p.token().text]; ok {
		p.expected("a name that can be set")
	}
	return p.expectName("a name")
}

func (p *parser) setTag() statement {
	t := setTag{target: name(p.target())}
	if p.skipOperator(".") {
		t.attribute = p.expectName("a name")
		p.block.note(string(t.target), reads)
	}
	switch {
	case p.skipOperator("="):
		t.value = p.tuple(p.expression, false)
		p.expectTagEnd()
	case p.at(tagEnd):
		p.next()
		t.body = p.open()
		p.fill(t.body, "endset")
	default:
		p.expected(`"=" or "%}"`)
	}
	p.sets(string(t.target))
	return t
}

func (p *parser) macroTag() statement {
	t := macroTag{name: p.target()}
	p.sets(t.name)
	t.body = p.open()
	p.expectOperator("(")
	for !p.skipOperator(")") && p.err == nil {
		if t.parameters != nil {
			p.expectOperator(",")
		}
		if slices.Contains(t.parameters, p.token().text) {
			p.expected("a parameter with another name")
		}
		t.parameters = append(t.parameters, p.target())
		var value expression
		if p.skipOperator("=") {
			value = p.expression()
		} else if n := len(t.defaults); n > 0 && t.defaults[n-1] != nil {
			p.expectOperator("=")
		}
		t.defaults = append(t.defaults, value)
	}
	for _, parameter := range t.parameters {
		t.body.note(parameter, reads)
	}
	p.expectTagEnd()
	p.function(t.body, "endmacro")
	return t
}

func (p *parser) leaveTag() statement {
	if p.loops == 0 {
		p.expected("a loop around this tag")
	}
	how := errContinue
	if p.next().text == "break" {
		how = errBreak
	}
	p.expectTagEnd()
	return leaveTag{how}
}
