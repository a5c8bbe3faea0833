package chat

import "slices"

// expression reads "then if condition else otherwise" or what binds more tightly.
func (p *parser) expression() expression {
	defer p.nest()()
	value := p.either()
	for p.skip(nameToken, "if") {
		c := choice{then: value, condition: p.either()}
		if p.skip(nameToken, "else") {
			c.otherwise = p.expression()
		}
		value = c
	}
	return value
}

func (p *parser) either() expression {
	left := p.both()
	for p.skip(nameToken, "or") {
		left = either{left, p.both()}
	}
	return left
}

func (p *parser) both() expression {
	left := p.not()
	for p.skip(nameToken, "and") {
		left = both{left, p.not()}
	}
	return left
}

func (p *parser) not() expression {
	if !p.skip(nameToken, "not") {
		return p.comparison()
	}
	defer p.nest()()
	return not{p.not()}
}

func (p *parser) comparison() expression {
	first := p.sum()
	var links []link
	for {
		operator := ""
		switch {
		case p.at(operatorToken, "==", "!=", "<", "<=", ">", ">="), p.at(nameToken, "in"):
			operator = p.next().text
		case p.at(nameToken, "not") && p.atSecond(nameToken, "in"):
			p.next()
			p.next()
			operator = "not in"
		case links == nil:
			return first
		default:
			return comparison{first, links}
		}
		links = append(links, link{operator, p.sum()})
	}
}

func (p *parser) sum() expression { return p.operation(p.joined, "+", "-") }

// joined reads operands of "~", which binds more tightly than "+".
func (p *parser) joined() expression { return p.operation(p.product, "~") }

func (p *parser) product() expression { return p.operation(p.operand, "*", "/", "//", "%") }

func (p *parser) operation(operand func() expression, operators ...string) expression {
	left := operand()
	for p.at(operatorToken, operators...) {
		operator := p.next().text
		left = operation{operator, left, operand()}
	}
	return left
}

// operand reads a value with what stands behind it. Filters and tests apply to a value with its sign, items and calls to one
// without.
func (p *parser) operand() expression {
	value := p.signed()
	for {
		switch {
		case p.skipOperator("|"):
			value = p.filter(value)
		case p.skip(nameToken, "is"):
			value = p.test(value)
		case p.at(operatorToken, "("):
			value = call{value, p.arguments()}
		default:
			return value
		}
	}
}

func (p *parser) signed() expression {
	if !p.at(operatorToken, "-", "+") {
		return p.postfix(p.primary())
	}
	defer p.nest()()
	sign := 1
	if p.next().text == "-" {
		sign = -1
	}
	return signed{sign, p.signed()}
}

// postfix reads the items, attributes and calls behind a value.
func (p *parser) postfix(value expression) expression {
	for {
		switch {
		case p.skipOperator("."):
			value = p.attribute(value)
		case p.skipOperator("["):
			value = p.item(value)
		case p.at(operatorToken, "("):
			value = call{value, p.arguments()}
		default:
			return value
		}
	}
}

// attribute reads what stands behind a dot: a name or the index of an item.
func (p *parser) attribute(of expression) expression {
	if p.at(integerToken) {
		return itemOf{of, p.number()}
	}
	return attributeOf{of, p.expectName("a name or a number")}
}

// item reads the key or the bounds of a slice behind "[".
func (p *parser) item(of expression) expression {
	var bounds [3]expression
	colons := 0
	for !p.at(operatorToken, "]") && p.err == nil {
		if p.at(operatorToken, ":") && colons < 2 {
			p.next()
			colons++
			continue
		}
		if bounds[colons] != nil {
			break
		}
		bounds[colons] = p.expression()
	}
	if colons == 0 && bounds[0] == nil {
		p.expected("a value")
	}
	p.expectOperator("]")
	if colons == 0 {
		return itemOf{of, bounds[0]}
	}
	return sliceOf{of, bounds}
}

// arguments reads those of a call, a filter or a test, with their parentheses.
func (p *parser) arguments() (a argumentList) {
	p.expectOperator("(")
	for !p.skipOperator(")") && p.err == nil {
		if p.at(nameToken) && p.atSecond(operatorToken, "=") {
			if slices.Contains(a.names, p.token().text) {
				p.expected("every name once")
			}
			a.names = append(a.names, p.next().text)
			p.next()
			a.named = append(a.named, p.expression())
		} else if a.named == nil {
			a.list = append(a.list, p.expression())
		} else {
			p.expected("an argument with a name")
		}
		if !p.at(operatorToken, ")") {
			p.expectOperator(",")
		}
	}
	return a
}

func (p *parser) filter(of expression) expression {
	f := filtered{of: of, filter: p.token().text}
	if !p.at(nameToken) || filters[f.filter] == nil {
		p.expected("the name of a filter that is supported")
	}
	if p.next(); p.at(operatorToken, "(") {
		f.given = p.arguments()
	}
	return f
}

// test reads what stands behind "is". A test of one parameter may have it without parentheses.
func (p *parser) test(of expression) expression {
	negated := p.skip(nameToken, "not")
	t := tested{of: of, test: p.token().text}
	if !p.at(nameToken) || valueTests[t.test] == nil {
		p.expected("the name of a test that is supported")
	}
	p.next()
	switch {
	case p.at(operatorToken, "("):
		a := p.arguments()
		if t.parameters = a.list; a.named != nil {
			p.fail("expected a test without named arguments, found the name %q", a.names[0])
		}
	case p.at(nameToken, "is"):
		p.expected("parentheses around a test that is tested")
	case p.at(nameToken, "and", "or", "else"):
	case p.at(nameToken), p.at(stringToken), p.at(integerToken), p.at(floatToken), p.at(operatorToken, "[", "{"):
		t.parameters = []expression{p.postfix(p.primary())}
	}
	if negated {
		return not{t}
	}
	return t
}
