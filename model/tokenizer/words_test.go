package tokenizer

import (
	"math/rand/v2"
	"testing"
	"unicode"

	"github.com/dlclark/regexp2"
	"github.com/stretchr/testify/require"
)

// The scanners agree with a regular expression engine on random texts of the characters that the patterns tell apart.
func TestWordsEqualPatterns(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	alphabet := []rune("\n\n\r\r    \t\u00a0\u3000''''..!_-stSTredvEmlLabzéßñ中が가0129٣½Ⅻ²😀\u0301\u200b\u0085\ufeff\ufffd")
	for name, c := range map[string]struct {
		pattern string
		word    func(string) int
	}{
		"llama3": {llama3Pattern, llama3Word},
		"gpt2":   {gpt2Pattern, gpt2Word},
	} {
		t.Run(name, func(t *testing.T) {
			re := regexp2.MustCompile(c.pattern, regexp2.None)
			for range 5000 {
				runes := make([]rune, 1+rng.IntN(16))
				for i := range runes {
					runes[i] = alphabet[rng.IntN(len(alphabet))]
				}
				text := string(runes)
				require.Equal(t, matches(t, re, text), words(text, c.word), "%q", text)
			}
		})
	}
}

func words(text string, word func(string) int) []string {
	var found []string
	for len(text) > 0 {
		n := word(text)
		found = append(found, text[:n])
		text = text[n:]
	}
	return found
}

func matches(t *testing.T, re *regexp2.Regexp, text string) []string {
	t.Helper()
	var found []string
	m, err := re.FindStringMatch(text)
	for ; m != nil; m, err = re.FindNextMatch(m) {
		require.NoError(t, err)
		found = append(found, m.String())
	}
	require.NoError(t, err)
	return found
}

// The long s counts as a lower case of S, which regexp2 does not know.
func TestLongSContraction(t *testing.T) {
	require.Equal(t, []string{"it", "'ſ", "tea"}, words("it'ſtea", llama3Word))
	require.Equal(t, []string{"it", "'", "ſtea"}, words("it'ſtea", gpt2Word))
}

// The counts are those of the reference library's regular expression engine. A new Go release with newer Unicode tables
// than newLetters and newNumbers makes this fail: then the tables shrink or go.
func TestClassesAreThoseOfUnicode16(t *testing.T) {
	counts := map[class]int{}
	for r := range rune(unicode.MaxRune + 1) {
		if r < 0xd800 || r > 0xdfff {
			counts[classOf(r)]++
		}
	}
	require.Equal(t, 141028, counts[letter])
	require.Equal(t, 1911, counts[number])
	require.Equal(t, 25, counts[space]+counts[newline])
}
