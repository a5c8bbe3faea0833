// Package tokenizer turns text into token ids and back, as a Hugging Face tokenizer.json describes it.
//
// It covers the byte-pair encodings of the Llama family: byte-level ones split by the Llama 3 or the GPT-2 pattern, and
// SentencePiece-style ones with byte fallback. Its results equal those of the Hugging Face tokenizers library. A file that asks
// for anything else is refused, with the reason.
//
// Encoding goes through five parts, each in its own file:
//
//	added.go      cuts out the tokens that are matched before anything else, such as <|eot_id|>
//	normalize.go  rewrites the text between them
//	split.go      cuts that text into words
//	bpe.go        merges each word into tokens
//	template.go   puts the special tokens round the result
//
// decode.go goes the other way.
package tokenizer

import (
	"strings"
	"sync"
)

// Tokenizer is one loaded tokenizer. It never changes and is safe for concurrent use.
type Tokenizer struct {
	raw        matcher // added tokens found in the text as it came
	normalized matcher // added tokens found in normalized text
	normalizer normalizer
	splitter   splitter
	model      *bpe
	template   template
	decoder    decoder

	added    map[string]int32
	texts    []string // by id; "" where the vocabulary has a hole
	special  []bool   // by id
	bos, eos int32    // -1 when there is none

	mostBytes int // see MostBytes

	scratch sync.Pool // of *scratch
}

// Encode returns the ids of text. With addSpecial the tokenizer's template is applied, which for a Llama model puts the
// beginning-of-sequence token in front. Special tokens written out in the text are recognized either way. Bytes that are not
// UTF-8 count as U+FFFD.
func (t *Tokenizer) Encode(text string, addSpecial bool) []int32 {
	text = strings.ToValidUTF8(text, "\uFFFD")
	out := make([]int32, 0, len(text)/3+8)
	if addSpecial {
		out = append(out, t.template.before...)
	}
	out = t.encode(out, text)
	if addSpecial {
		out = append(out, t.template.after...)
	}
	return out
}

func (t *Tokenizer) encode(out []int32, text string) []int32 {
	w := t.scratch.Get().(*scratch)
	defer t.recycle(w)
	atStart := true
	for raw := range t.raw.cut(text) {
		if raw.id >= 0 {
			out, atStart = append(out, raw.id), false
			continue
		}
		for part := range t.normalized.cut(t.normalizer.apply(raw.text)) {
			if part.id >= 0 {
				out = append(out, part.id)
			} else {
				out = t.encodePart(out, w, part.text, atStart)
			}
			atStart = false
		}
	}
	return out
}

// encodePart encodes text that holds no added token.
func (t *Tokenizer) encodePart(out []int32, w *scratch, text string, atStart bool) []int32 {
	text = t.splitter.prepare(text, atStart)
	for len(text) > 0 {
		n := t.splitter.word(text)
		w.text = t.splitter.appendWord(w.text[:0], text[:n])
		out = t.model.encode(out, w)
		text = text[n:]
	}
	return out
}

// recycle keeps the scratch space of ordinary texts for the next call. What one huge text needed is left to the collector.
func (t *Tokenizer) recycle(w *scratch) {
	const keep = 1 << 16
	if cap(w.text) <= keep && cap(w.symbols) <= keep && cap(w.heap) <= keep {
		t.scratch.Put(w)
	}
}

// VocabSize is one more than the largest id, added tokens included.
func (t *Tokenizer) VocabSize() int { return len(t.texts) }

// TokenText is the token's entry in the vocabulary, as it is written there: a byte-level vocabulary has "Ġof" where
// Decode gives " of", and a normalized added token is there in normalized form. It is empty for an id that is not in the
// vocabulary.
func (t *Tokenizer) TokenText(id int32) string {
	if id < 0 || int(id) >= len(t.texts) {
		return ""
	}
	return t.texts[id]
}

// ID finds a token by its entry in the vocabulary. Added tokens come first.
func (t *Tokenizer) ID(token string) (int32, bool) {
	if id, ok := t.added[token]; ok {
		return id, true
	}
	id, ok := t.model.vocab[token]
	return id, ok
}

// BOS is the beginning-of-sequence token that tokenizer_config.json names.
func (t *Tokenizer) BOS() (int32, bool) { return t.bos, t.bos >= 0 }

// EOS is the end-of-sequence token that tokenizer_config.json names.
func (t *Tokenizer) EOS() (int32, bool) { return t.eos, t.eos >= 0 }
