package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// splitter is tokenizer.json's pre_tokenizer.
type splitter struct {
	// prepare rewrites a stretch of text before it is cut; atStart says that the whole text begins with it.
	prepare func(text string, atStart bool) string
	// word returns how many bytes of text the first word has. It is at least one character; text is not empty.
	word func(text string) int
	// appendWord appends a word in the alphabet that the vocabulary is written in.
	appendWord func(dst []byte, word string) []byte
	byteLevel  bool // that alphabet has a character for each byte
}

// newSplitter builds a splitter: none, ByteLevel, a Split by the Llama 3 pattern followed by ByteLevel, or Metaspace.
func newSplitter(c *component) (splitter, error) {
	if c == nil {
		return splitter{prepare: asIs, word: wholeText, appendWord: appendPlain}, nil
	}
	switch c.Type {
	case "ByteLevel":
		return newByteLevelSplitter(c)
	case "Sequence":
		if len(c.Pretokenizers) == 2 && c.Pretokenizers[0].Type == "Split" && c.Pretokenizers[1].Type == "ByteLevel" {
			return newPatternSplitter(&c.Pretokenizers[0], &c.Pretokenizers[1])
		}
		return splitter{}, fmt.Errorf("a Sequence other than Split, ByteLevel is not supported")
	case "Metaspace":
		return newMetaspaceSplitter(c)
	}
	return splitter{}, fmt.Errorf("type %q is not supported", c.Type)
}

func newByteLevelSplitter(c *component) (splitter, error) {
	if c.UseRegex != nil && !*c.UseRegex {
		return splitter{}, fmt.Errorf("ByteLevel with use_regex false needs a Split before it")
	}
	s := byteLevelSplitter(gpt2Word)
	if c.AddPrefixSpace != nil && *c.AddPrefixSpace {
		s.prepare = func(text string, _ bool) string { return withPrefix(text, " ") }
	}
	return s, nil
}

func byteLevelSplitter(word func(string) int) splitter {
	return splitter{prepare: asIs, word: word, appendWord: appendByteLevel, byteLevel: true}
}

// The split patterns that this package knows.
const (
	llama3Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	gpt2Pattern   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
)

func newPatternSplitter(split, byteLevel *component) (splitter, error) {
	if split.Behavior != "Isolated" || split.Invert {
		return splitter{}, fmt.Errorf("a Split with behavior %q, invert %t is not supported", split.Behavior, split.Invert)
	}
	if byteLevel.UseRegex == nil || *byteLevel.UseRegex || byteLevel.AddPrefixSpace != nil && *byteLevel.AddPrefixSpace {
		return splitter{}, fmt.Errorf("a ByteLevel that splits or adds a space after a Split is not supported")
	}
	switch split.Pattern.Regex {
	case llama3Pattern:
		return byteLevelSplitter(llama3Word), nil
	case gpt2Pattern:
		return byteLevelSplitter(gpt2Word), nil
	}
	return splitter{}, fmt.Errorf("split pattern %q is not supported", split.Pattern.Regex)
}

func newMetaspaceSplitter(c *component) (splitter, error) {
	if utf8.RuneCountInString(c.Replacement) != 1 {
		return splitter{}, fmt.Errorf("a Metaspace needs one replacement character, got %q", c.Replacement)
	}
	scheme := c.PrependScheme
	if scheme == "" {
		scheme = "always"
	}
	if scheme != "always" && scheme != "first" && scheme != "never" {
		return splitter{}, fmt.Errorf("prepend_scheme %q is not supported", scheme)
	}
	if c.AddPrefixSpace != nil && !*c.AddPrefixSpace && scheme != "never" {
		return splitter{}, fmt.Errorf("add_prefix_space false contradicts prepend_scheme %q", scheme)
	}
	s := splitter{word: wholeText, appendWord: appendPlain}
	s.prepare = func(text string, atStart bool) string {
		text = strings.ReplaceAll(text, " ", c.Replacement)
		if scheme == "always" || scheme == "first" && atStart {
			text = withPrefix(text, c.Replacement)
		}
		return text
	}
	if c.Split == nil || *c.Split {
		s.word = func(text string) int { return untilNext(text, c.Replacement) }
	}
	return s, nil
}

func asIs(text string, _ bool) string { return text }

func wholeText(text string) int { return len(text) }

func withPrefix(text, prefix string) string {
	if strings.HasPrefix(text, prefix) {
		return text
	}
	return prefix + text
}

// untilNext is the length of text up to the next mark that is not at its start.
func untilNext(text, mark string) int {
	_, first := utf8.DecodeRuneInString(text)
	if i := strings.Index(text[first:], mark); i >= 0 {
		return first + i
	}
	return len(text)
}

func appendPlain(dst []byte, word string) []byte { return append(dst, word...) }

func appendByteLevel(dst []byte, word string) []byte {
	for i := range len(word) {
		dst = utf8.AppendRune(dst, byteRune[word[i]])
	}
	return dst
}
