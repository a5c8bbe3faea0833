package chat

import (
	"strconv"
	"strings"
)

// lexString emits a string literal with the value that Python gives to its backslashes.
func (l *lexer) lexString() error {
	text := l.text[l.at:]
	var out strings.Builder
	for i := 1; i < len(text); {
		if text[i] == text[0] {
			l.emit(stringToken, out.String())
			l.at += i + 1
			return nil
		}
		length, err := l.lexCharacter(text[i:], &out)
		if err != nil {
			return err
		}
		i += length
	}
	return l.failed("the end of a string", token{}.String())
}

// lexCharacter writes the first character of a literal's rest, and returns how many bytes stand for it.
func (l *lexer) lexCharacter(rest string, out *strings.Builder) (length int, err error) {
	if rest[0] != '\\' {
		out.WriteByte(rest[0])
		return 1, nil
	}
	next := byte(0)
	if len(rest) > 1 {
		next = rest[1]
	}
	switch {
	case next == '\'' || next == '"':
		out.WriteByte(next)
		return 2, nil
	case strings.IndexByte("abfnrtvxuU\\", next) >= 0:
		r, _, tail, err := strconv.UnquoteChar(rest, 0)
		if err != nil {
			return 0, l.failed("hexadecimal digits of a character", strconv.Quote(rest[:min(6, len(rest))]))
		}
		out.WriteRune(r)
		return len(rest) - len(tail), nil
	case strings.IndexByte("01234567N\n", next) >= 0:
		return 0, l.failed("a character that is supported behind a backslash", strconv.QuoteRune(rune(next)))
	}
	// Python keeps a backslash that means nothing.
	out.WriteByte('\\')
	return 1, nil
}
