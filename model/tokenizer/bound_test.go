package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMostBytesIsNeverTooSmall looks for texts that have fewer tokens than their length says: those that tests of other
// tokens use, the longest tokens over and over, and random texts of few characters.
func TestMostBytesIsNeverTooSmall(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	letters := []rune(" \n\ta<|>s/ée€世\U0001F600\x00")
	for _, name := range []string{"gpt2", "llama2-metaspace", "llama2-prepend", "llama3"} {
		tokenizer := loadTestTokenizer(t, name)
		most := tokenizer.MostBytes()
		require.Positive(t, most, name)
		check := func(text string) {
			n := len(tokenizer.Encode(text, false))
			require.LessOrEqual(t, len(text), n*most, "%s, seed %d: %q has %d tokens", name, seed, text, n)
		}
		encoded, _ := readExpectations(t, name)
		for _, e := range encoded {
			check(strings.ToValidUTF8(e.text, "\uFFFD"))
		}
		for id := range int32(tokenizer.VocabSize()) {
			check(strings.Repeat(tokenizer.Decode([]int32{id}, false), 5))
		}
		for _, repeated := range []string{" ", "\n", "\t", "a", "0", "=", "é", "€", "\U0001F600", "\x00"} {
			check(strings.Repeat(repeated, 10000))
		}
		for range 2000 {
			var text strings.Builder
			for range 1 + random.IntN(100) {
				text.WriteRune(letters[random.IntN(len(letters))])
			}
			check(text.String())
		}
	}
}

// TestMostBytesOfALongToken has the longest token decide, in bytes of text and not of the vocabulary's alphabet.
func TestMostBytesOfALongToken(t *testing.T) {
	file, all := byteLevelFile()
	all["ĠĠ"], all["ĠĠĠĠ"], all["ĠĠĠĠĠĠĠĠ"] = 300, 301, 302
	tokenizer, err := loadTree(t, file, nil)
	require.NoError(t, err)
	require.Equal(t, 8, tokenizer.MostBytes())
}

// byteLevelFile is a tokenizer.json with a token for each byte and no other.
func byteLevelFile() (file, vocab map[string]any) {
	file, vocab = smallFile(), map[string]any{}
	for b, r := range byteRune {
		vocab[string(r)] = b
	}
	file["model"] = map[string]any{"type": "BPE", "vocab": vocab, "merges": []any{}}
	file["added_tokens"] = []any{}
	return file, vocab
}

func TestMostBytesWhereNoNumberIsSure(t *testing.T) {
	type tree = map[string]any
	for name, change := range map[string]func(file, vocab tree){
		"a byte that is dropped": func(_, vocab tree) { delete(vocab, "a"); vocab["ab"] = 'a' },
		"white space is swallowed": func(file, _ tree) {
			added := token(256, "<x>")
			added["rstrip"] = true
			file["added_tokens"] = []any{added}
		},
		"a normalizer that shortens": func(file, _ tree) {
			file["normalizer"] = tree{"type": "Replace", "pattern": tree{"String": "ab"}, "content": "a"}
		},
		"unknown characters that fuse": func(file, vocab tree) {
			delete(vocab, "a")
			vocab["?"] = 'a'
			file["model"].(tree)["unk_token"] = "?"
			file["model"].(tree)["fuse_unk"] = true
		},
	} {
		file, vocab := byteLevelFile()
		tokenizer, err := loadTree(t, file, nil)
		require.NoError(t, err)
		require.Positive(t, tokenizer.MostBytes())
		change(file, vocab)
		tokenizer, err = loadTree(t, file, nil)
		require.NoError(t, err, name)
		require.Zero(t, tokenizer.MostBytes(), name)
	}
}
