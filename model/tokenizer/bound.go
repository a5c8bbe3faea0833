package tokenizer

import "unicode/utf8"

// MostBytes is the most bytes of text that one token can stand for: a text of n bytes of valid UTF-8 has at least
// n / MostBytes tokens, whatever it says. It is 0 where no number is sure, because some text becomes fewer tokens than any
// number can tell: white space that an added token swallows, a normalizer that shortens, characters that are dropped, or a
// run of unknown ones that is one token.
func (t *Tokenizer) MostBytes() int { return t.mostBytes }

// boundBytes finds MostBytes once everything else is loaded.
func (t *Tokenizer) boundBytes() int {
	if t.raw.strips() || t.normalized.strips() || t.normalizer.shortens || !t.model.keepsAll(t.splitter.byteLevel) {
		return 0
	}
	most := utf8.UTFMax // an unknown token stands for one character
	for token := range t.model.vocab {
		if t.splitter.byteLevel {
			most = max(most, utf8.RuneCountInString(token)) // each character of the alphabet is a byte
		} else {
			most = max(most, len(token))
		}
	}
	for content := range t.added {
		most = max(most, len(content), len(t.normalizer.apply(content)))
	}
	return most
}

// strips says whether a token takes white space around it along.
func (m *matcher) strips() bool {
	for i := range m.tokens {
		if m.tokens[i].LStrip || m.tokens[i].RStrip {
			return true
		}
	}
	return false
}

// keepsAll says whether every character of a text is in some token, and only so many in one as its entry has.
func (m *bpe) keepsAll(byteLevel bool) bool {
	if m.unknown >= 0 && !m.fuseUnknown {
		return true
	}
	for b := range 256 {
		if byteLevel {
			if _, ok := m.character(byteRune[b]); !ok {
				return false
			}
		} else if m.bytes == nil || m.bytes[b] < 0 {
			return false
		}
	}
	return true
}
