package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// llama3Word is the length of the first match of llama3Pattern. Every text begins with a match.
func llama3Word(text string) int {
	if n := contraction(text, true); n > 0 {
		return n
	}
	r, size := utf8.DecodeRuneInString(text)
	first, second := classOf(r), other
	rest := text[size:]
	if rest != "" {
		next, _ := utf8.DecodeRuneInString(rest)
		second = classOf(next)
	}
	switch {
	case first == letter:
		return size + run(rest, letter)
	case first != newline && first != number && rest != "" && second == letter:
		return size + run(rest, letter)
	case first == number:
		return numbers(text, 3)
	case first == other, r == ' ' && rest != "" && second == other:
		n := size + run(rest, other)
		return n + run(text[n:], newline)
	}
	return spaces(text, true)
}

// gpt2Word is the length of the first match of gpt2Pattern.
func gpt2Word(text string) int {
	if n := contraction(text, false); n > 0 {
		return n
	}
	skip := 0
	if text[0] == ' ' && len(text) > 1 {
		skip = 1
	}
	r, size := utf8.DecodeRuneInString(text[skip:])
	switch c := classOf(r); c {
	case letter, number, other:
		return skip + size + run(text[skip+size:], c)
	}
	return spaces(text, false)
}

// contraction is the length of an English contraction such as 'll at the start of text, or 0. With fold, case does not
// matter; ſ is a lower case of S.
func contraction(text string, fold bool) int {
	if len(text) < 2 || text[0] != '\'' {
		return 0
	}
	for _, ending := range [...]string{"s", "t", "re", "ve", "m", "ll", "d"} {
		if strings.HasPrefix(text[1:], ending) {
			return 1 + len(ending)
		}
		if fold && len(text) > len(ending) && strings.EqualFold(text[1:1+len(ending)], ending) {
			return 1 + len(ending)
		}
	}
	if fold && strings.HasPrefix(text[1:], "ſ") {
		return 1 + len("ſ")
	}
	return 0
}

// run is the length of the characters of one class at the start of text.
func run(text string, c class) int {
	for i, r := range text {
		if classOf(r) != c {
			return i
		}
	}
	return len(text)
}

// numbers is the length of up to limit numbers at the start of text.
func numbers(text string, limit int) int {
	count := 0
	for i, r := range text {
		if count == limit || classOf(r) != number {
			return i
		}
		count++
	}
	return len(text)
}

// spaces is the length of the match of \s+(?!\S)|\s+ at the start of text, which begins with white space: all of it at
// the end of the text, else all but the last character, which belongs to the word behind. With lines, \s*[\r\n]+ is tried
// first: white space up to the last newline.
func spaces(text string, lines bool) int {
	last, lineEnd := 0, 0
	for i, r := range text {
		switch classOf(r) {
		case newline:
			lineEnd = i + 1
		case space:
		default:
			if lines && lineEnd > 0 {
				return lineEnd
			}
			if last > 0 {
				return last
			}
			return i
		}
		last = i
	}
	if lines && lineEnd > 0 {
		return lineEnd
	}
	return len(text)
}
