package tokenizer

import (
	"fmt"
	"unicode/utf8"
)

// bpe is a byte-pair encoding: a word starts as its characters, and neighbours are merged in order of rank until no merge is left.
type bpe struct {
	vocab        map[string]int32
	merges       map[uint64]merge // by pairKey
	ascii        [128]int32       // ids of one-character tokens, -1 where there is none
	runes        map[rune]int32   // the same beyond ASCII
	bytes        *[256]int32      // ids of <0x00> to <0xFF>, -1 where there is none; nil without byte fallback
	unknown      int32            // -1: characters that are not in the vocabulary are dropped
	fuseUnknown  bool             // one unknown token for a run of them
	ignoreMerges bool             // a word that is in the vocabulary is taken whole
}

type merge struct {
	rank, id int32
}

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// modelFile is tokenizer.json's model.
type modelFile struct {
	Type         string           `json:"type"`
	Dropout      *float64         `json:"dropout"`
	UnkToken     *string          `json:"unk_token"`
	Prefix       string           `json:"continuing_subword_prefix"`
	Suffix       string           `json:"end_of_word_suffix"`
	FuseUnk      bool             `json:"fuse_unk"`
	ByteFallback bool             `json:"byte_fallback"`
	IgnoreMerges bool             `json:"ignore_merges"`
	Vocab        map[string]int32 `json:"vocab"`
	Merges       mergeList        `json:"merges"`
}

func newBPE(f *modelFile) (*bpe, error) {
	switch {
	case f.Type != "BPE":
		return nil, fmt.Errorf("type %q is not supported, only BPE", f.Type)
	case f.Dropout != nil && *f.Dropout != 0:
		return nil, fmt.Errorf("dropout %v is not supported", *f.Dropout)
	case f.Prefix != "" || f.Suffix != "":
		return nil, fmt.Errorf("continuing_subword_prefix and end_of_word_suffix are not supported")
	case len(f.Vocab) == 0:
		return nil, fmt.Errorf("the vocabulary is empty")
	}
	m := &bpe{
		vocab: f.Vocab, runes: map[rune]int32{}, merges: make(map[uint64]merge, len(f.Merges)),
		unknown: -1, fuseUnknown: f.FuseUnk, ignoreMerges: f.IgnoreMerges,
	}
	if f.UnkToken != nil {
		id, ok := f.Vocab[*f.UnkToken]
		if !ok {
			return nil, fmt.Errorf("unk_token %q is not in the vocabulary", *f.UnkToken)
		}
		m.unknown = id
	}
	m.indexCharacters()
	if f.ByteFallback {
		m.indexBytes()
	}
	return m, m.indexMerges(f.Merges)
}

func (m *bpe) indexCharacters() {
	for i := range m.ascii {
		m.ascii[i] = -1
	}
	for token, id := range m.vocab {
		r, n := utf8.DecodeRuneInString(token)
		if n != len(token) || n == 0 {
			continue
		}
		if r < utf8.RuneSelf {
			m.ascii[r] = id
		} else {
			m.runes[r] = id
		}
	}
}

func (m *bpe) indexBytes() {
	m.bytes = new([256]int32)
	for b := range m.bytes {
		m.bytes[b] = -1
		if id, ok := m.vocab[fmt.Sprintf("<0x%02X>", b)]; ok {
			m.bytes[b] = id
		}
	}
}

func (m *bpe) indexMerges(rules mergeList) error {
	var whole []byte
	for rank, parts := range rules {
		if len(parts) != 2 {
			return fmt.Errorf("merge %d: %q does not have two parts", rank, parts)
		}
		left, okLeft := m.vocab[parts[0]]
		right, okRight := m.vocab[parts[1]]
		whole = append(append(whole[:0], parts[0]...), parts[1]...)
		id, ok := m.vocab[string(whole)]
		if !okLeft || !okRight || !ok {
			return fmt.Errorf("merge %d: not all of %q and the whole are in the vocabulary", rank, parts)
		}
		m.merges[pairKey(left, right)] = merge{int32(rank), id}
	}
	return nil
}

// encode appends the ids of the word in w.text.
func (m *bpe) encode(out []int32, w *scratch) []int32 {
	if m.ignoreMerges {
		if id, ok := m.vocab[string(w.text)]; ok {
			return append(out, id)
		}
	}
	m.fill(w)
	w.merge(m.merges)
	for i := range w.symbols {
		if id := w.symbols[i].id; id >= 0 {
			out = append(out, id)
		}
	}
	return out
}

// fill makes a symbol of each character of w.text.
func (m *bpe) fill(w *scratch) {
	w.symbols = w.symbols[:0]
	// An unknown token is held back until a character of the vocabulary follows, byte tokens overtake it: the reference
	// library does so, and training data was made with it.
	held := false
	for i := 0; i < len(w.text); {
		r, n := utf8.DecodeRune(w.text[i:])
		id, known := m.character(r)
		switch {
		case known:
			if held {
				w.add(m.unknown)
			}
			w.add(id)
			held = false
		case m.fallBack(w, w.text[i:i+n]):
		case m.unknown >= 0:
			if held && !m.fuseUnknown {
				w.add(m.unknown)
			}
			held = true
		}
		i += n
	}
	if held {
		w.add(m.unknown)
	}
}

func (m *bpe) character(r rune) (int32, bool) {
	if r < utf8.RuneSelf {
		return m.ascii[r], m.ascii[r] >= 0
	}
	id, ok := m.runes[r]
	return id, ok
}

// fallBack adds the byte tokens of a character that is not in the vocabulary, if there is one for each of its bytes.
func (m *bpe) fallBack(w *scratch, character []byte) bool {
	if m.bytes == nil {
		return false
	}
	for _, b := range character {
		if m.bytes[b] < 0 {
			return false
		}
	}
	for _, b := range character {
		w.add(m.bytes[b])
	}
	return true
}
