package chat

import "strconv"

// constants are the names of values that cannot be set.
var constants = map[string]constant{
	"true": {true}, "True": {true}, "false": {false}, "False": {false}, "none": {nil}, "None": {nil},
}

// primary reads a value without what may stand before and behind it.
func (p *parser) primary() expression {
	switch {
	case p.at(nameToken):
		text := p.next().text
		if value, ok := constants[text]; ok {
			return value
		}
		p.block.note(text, reads)
		return name(text)
	case p.at(stringToken):
		text := ""
		for p.at(stringToken) { // those that follow each other are one
			text += p.next().text
		}
		return constant{text}
	case p.at(integerToken), p.at(floatToken):
		return p.number()
	case p.skipOperator("("):
		value := p.tuple(p.expression, true)
		p.expectOperator(")")
		return value
	case p.skipOperator("["):
		return listOf(p.list())
	case p.skipOperator("{"):
		return p.dict()
	}
	p.expected("a value")
	return constant{}
}

func (p *parser) number() expression {
	var value any
	var err error
	if p.at(integerToken) {
		value, err = strconv.Atoi(p.token().text)
	} else {
		value, err = strconv.ParseFloat(p.token().text, 64)
	}
	if err != nil {
		p.expected("a number of 64 bits")
	}
	p.next()
	return constant{value}
}

// list reads the items behind "[" and the bracket's end.
func (p *parser) list() (items []expression) {
	for !p.skipOperator("]") && p.err == nil {
		items = append(items, p.expression())
		if !p.at(operatorToken, "]") {
			p.expectOperator(",")
		}
	}
	return items
}

// dict reads the entries behind "{" and the bracket's end.
func (p *parser) dict() (d dictOf) {
	for !p.skipOperator("}") && p.err == nil {
		d.keys = append(d.keys, p.expression())
		p.expectOperator(":")
		d.values = append(d.values, p.expression())
		if !p.at(operatorToken, "}") {
			p.expectOperator(",")
		}
	}
	return d
}

// tuple reads values with commas between them; one without a comma is that value. There may be none at all in parentheses only.
func (p *parser) tuple(item func() expression, parentheses bool) expression {
	var items tupleOf
	for !p.at(operatorToken, ")") && !p.at(outputEnd) && !p.at(tagEnd) {
		items = append(items, item())
		if p.skipOperator(",") {
			continue
		}
		if len(items) == 1 {
			return items[0]
		}
		break
	}
	if items == nil && !parentheses {
		p.expected("a value")
	}
	return items
}
