package tokenizer

import (
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is an entry of tokenizer.json's added_tokens.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // matches only between characters that are not part of a word
	LStrip     bool   `json:"lstrip"`      // swallows the white space on its left
	RStrip     bool   `json:"rstrip"`      // swallows the white space on its right
	Normalized bool   `json:"normalized"`  // is looked for in normalized text, in normalized form
	Special    bool   `json:"special"`
}

// part is a piece of text, or an added token when id >= 0.
type part struct {
	text string
	id   int32
}

// matcher finds added tokens: at the leftmost place where one begins, the longest.
type matcher struct {
	tokens []addedToken
	nodes  []trieNode // nodes[0] is the root; none without tokens
	starts [256]bool  // first bytes of the tokens
}

type trieNode struct {
	next  map[byte]int32
	token int32 // index in tokens, -1 inside a token
}

// add makes the matcher find form as the given token. It says false if that form is taken.
func (m *matcher) add(form string, token addedToken) bool {
	if len(m.nodes) == 0 {
		m.nodes = []trieNode{{token: -1}}
	}
	at := int32(0)
	for i := range len(form) {
		next, ok := m.nodes[at].next[form[i]]
		if !ok {
			next = int32(len(m.nodes))
			m.nodes = append(m.nodes, trieNode{token: -1})
			if m.nodes[at].next == nil {
				m.nodes[at].next = map[byte]int32{}
			}
			m.nodes[at].next[form[i]] = next
		}
		at = next
	}
	if m.nodes[at].token >= 0 {
		return false
	}
	m.nodes[at].token = int32(len(m.tokens))
	m.tokens = append(m.tokens, token)
	m.starts[form[0]] = true
	return true
}

// find returns the first token at or after from as text[start:end] and its index, or -1.
func (m *matcher) find(text string, from int) (start, end int, token int32) {
	for start = from; start < len(text); start++ {
		if !m.starts[text[start]] {
			continue
		}
		token = -1
		at, ok := int32(0), true
		for i := start; i < len(text); i++ {
			if at, ok = m.nodes[at].next[text[i]]; !ok {
				break
			}
			if found := m.nodes[at].token; found >= 0 {
				end, token = i+1, found
			}
		}
		if token >= 0 {
			return start, end, token
		}
	}
	return len(text), len(text), -1
}

// cut yields text in order: the added tokens and the non-empty stretches between them.
func (m *matcher) cut(text string) iter.Seq[part] {
	return func(yield func(part) bool) {
		done := 0
		for from := 0; len(m.nodes) > 0; {
			start, end, index := m.find(text, from)
			if index < 0 {
				break
			}
			// The search goes on behind the match itself, also when the match is discarded or swallows more space.
			from = end
			token := &m.tokens[index]
			if token.SingleWord && !betweenWords(text, start, end) {
				continue
			}
			if token.LStrip {
				start = len(strings.TrimRightFunc(text[:start], unicode.IsSpace))
			}
			if token.RStrip {
				end = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
			}
			if done < start && !yield(part{text[done:start], -1}) {
				return
			}
			if !yield(part{"", token.ID}) {
				return
			}
			done = end
		}
		if done < len(text) {
			yield(part{text[done:], -1})
		}
	}
}

// betweenWords says whether text[start:end] touches no word character on either side.
func betweenWords(text string, start, end int) bool {
	before, n := utf8.DecodeLastRuneInString(text[:start])
	if n > 0 && isWord(before) {
		return false
	}
	after, n := utf8.DecodeRuneInString(text[end:])
	return n == 0 || !isWord(after)
}

// isWord is \w of Unicode Technical Standard 18, annex C.
func isWord(r rune) bool {
	return classOf(r) == letter ||
		unicode.In(r, unicode.Other_Alphabetic, unicode.Nl, unicode.M, unicode.Nd, unicode.Pc, unicode.Join_Control)
}
