package chat

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is a piece of a template. What kind of tag it stands in does not matter: Jinja's keywords are names that the parser knows.
type token struct {
	kind tokenKind
	text string // of a string literal its value
	line int
}

type tokenKind int

const (
	endToken tokenKind = iota // of the template
	dataToken
	outputBegin // {{
	outputEnd
	tagBegin // {%
	tagEnd
	nameToken
	stringToken
	integerToken
	floatToken
	operatorToken
)

// String is how an error calls the token.
func (t token) String() string {
	switch t.kind {
	case endToken:
		return "the end of the template"
	case dataToken:
		return "text"
	case stringToken:
		return fmt.Sprintf("the string %q", t.text)
	}
	return strconv.Quote(t.text)
}

// lexer cuts a template into tokens.
type lexer struct {
	text   string
	at     int // bytes of text that are done
	tokens []token
	// line is that of the last token, which begins at the byte lineAt.
	line, lineAt int
	// closers are the brackets that are open, as what closes them.
	closers []byte
}

// tagEnds are the ends of the kinds of tags.
var tagEnds = map[string]string{"{{": "}}", "{%": "%}", "{#": "#}"}

// operators of Jinja, longer ones first.
var operators = []string{
	"//", "**", "==", "!=", ">=", "<=", ">", "<", "+", "-", "/", "*", "%", "~", "=", ".", ":", "|", ",", "(", ")", "[", "]", "{", "}",
}

// lex returns a template's tokens, with the white space taken away that Jinja takes under trim_blocks and lstrip_blocks. The last
// one is the endToken.
func lex(text string) ([]token, error) {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	l := &lexer{text: strings.TrimSuffix(text, "\n"), line: 1}
	for l.at < len(l.text) {
		if err := l.lexTag(l.lexData()); err != nil {
			return nil, err
		}
	}
	l.emit(endToken, "")
	return l.tokens, nil
}

func (l *lexer) emit(kind tokenKind, text string) {
	l.line += strings.Count(l.text[l.lineAt:l.at], "\n")
	l.lineAt = l.at
	l.tokens = append(l.tokens, token{kind, text, l.line})
}

// failed is the error of finding something else than what is expected.
func (l *lexer) failed(expected, found string) error {
	line := l.line + strings.Count(l.text[l.lineAt:l.at], "\n")
	return fmt.Errorf("line %d: expected %s, found %s", line, expected, found)
}

// lexData emits the text up to the next tag and returns how that begins, "" at the end of the template.
func (l *lexer) lexData() string {
	start := l.at
	for ; l.at < len(l.text); l.at++ {
		if len(l.text) >= l.at+2 && tagEnds[l.text[l.at:l.at+2]] != "" {
			break
		}
	}
	data := l.text[start:l.at]
	if l.at == len(l.text) {
		l.emitData(data)
		return ""
	}
	begin := l.text[l.at : l.at+2]
	l.at += 2
	switch {
	case l.skip("-"):
		data = strings.TrimRightFunc(data, isPythonSpace)
	case l.skip("+"):
	case begin != "{{":
		line := strings.LastIndexByte(data, '\n') + 1
		atLineStart := line > 0 || start == 0 || l.text[start-1] == '\n'
		if atLineStart && strings.TrimFunc(data[line:], isPythonSpace) == "" {
			data = data[:line]
		}
	}
	l.emitData(data)
	return begin
}

func (l *lexer) emitData(data string) {
	if data != "" {
		l.emit(dataToken, data)
	}
}

func (l *lexer) skip(prefix string) bool {
	if !strings.HasPrefix(l.text[l.at:], prefix) {
		return false
	}
	l.at += len(prefix)
	return true
}

func (l *lexer) skipSpace() {
	l.at = len(l.text) - len(strings.TrimLeftFunc(l.text[l.at:], isPythonSpace))
}

// lexTag goes on behind the beginning of a tag to behind its end and the white space that the end swallows.
func (l *lexer) lexTag(begin string) error {
	switch begin {
	case "{#":
		end := strings.Index(l.text[l.at:], "#}")
		if end < 0 {
			return l.failed(`"#}" behind "{#"`, token{}.String())
		}
		l.at += end
		if end > 0 && (l.text[l.at-1] == '-' || l.text[l.at-1] == '+') {
			l.at--
		}
		l.skipEnd("#}")
	case "{{":
		l.emit(outputBegin, begin)
		return l.lexExpression("}}", outputEnd)
	case "{%":
		l.emit(tagBegin, begin)
		return l.lexExpression("%}", tagEnd)
	}
	return nil
}

// skipEnd goes past a tag's end if it comes here.
func (l *lexer) skipEnd(end string) bool {
	switch {
	case l.skip("-" + end):
		l.skipSpace()
	case end != "}}" && l.skip("+"+end):
	case l.skip(end):
		if end != "}}" {
			l.skip("\n")
		}
	default:
		return false
	}
	return true
}

func (l *lexer) lexExpression(end string, kind tokenKind) error {
	l.closers = l.closers[:0]
	for {
		l.skipSpace()
		if len(l.closers) == 0 && l.skipEnd(end) {
			l.emit(kind, end)
			return nil
		}
		if l.at == len(l.text) {
			if open := len(l.closers); open > 0 {
				end = string(l.closers[open-1])
			}
			return l.failed(strconv.Quote(end), token{}.String())
		}
		if err := l.lexToken(); err != nil {
			return err
		}
	}
}

func (l *lexer) lexToken() error {
	rest := l.text[l.at:]
	r, _ := utf8.DecodeRuneInString(rest)
	switch {
	case r == '"' || r == '\'':
		return l.lexString()
	case r >= '0' && r <= '9':
		return l.lexNumber()
	case r == '_' || unicode.IsLetter(r):
		name := rest[:len(rest)-len(strings.TrimLeftFunc(rest, isNameRune))]
		l.emit(nameToken, name)
		l.at += len(name)
		return nil
	}
	return l.lexOperator(r)
}

func isNameRune(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

func (l *lexer) lexNumber() error {
	digits := func(text string) int { return len(text) - len(strings.TrimLeft(text, "0123456789")) }
	rest := l.text[l.at:]
	length, kind := digits(rest), integerToken
	if length > 1 && rest[0] == '0' {
		return l.failed("a number that does not begin with 0", rest[:length])
	}
	// Behind a dot it is an index, and so is what follows the next dot.
	if l.text[l.at-1] != '.' && strings.HasPrefix(rest[length:], ".") {
		if fraction := digits(rest[length+1:]); fraction > 0 {
			length, kind = length+1+fraction, floatToken
		}
	}
	l.emit(kind, rest[:length])
	l.at += length
	return nil
}

func (l *lexer) lexOperator(r rune) error {
	for _, operator := range operators {
		if !strings.HasPrefix(l.text[l.at:], operator) {
			continue
		}
		switch c := operator[0]; c {
		case '(':
			l.closers = append(l.closers, ')')
		case '[', '{':
			l.closers = append(l.closers, c+2)
		case ')', ']', '}':
			open := len(l.closers) - 1
			if open < 0 {
				return l.failed("a bracket that is open", strconv.Quote(operator))
			}
			if l.closers[open] != c {
				return l.failed(strconv.Quote(string(l.closers[open])), strconv.Quote(operator))
			}
			l.closers = l.closers[:open]
		}
		l.emit(operatorToken, operator)
		l.at += len(operator)
		return nil
	}
	return l.failed("a value or an operator", strconv.QuoteRune(r))
}
