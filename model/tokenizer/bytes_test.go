package tokenizer

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// TestBytesAreTheText joins the bytes of every text's tokens, and looks for tokens that are parts of characters.
func TestBytesAreTheText(t *testing.T) {
	for _, name := range tokenizerNames {
		tokenizer := loadTestTokenizer(t, name)
		encoded, _ := readExpectations(t, name)
		parts := 0
		for _, e := range append(encoded, expectation{text: "\U0001F600 é 漢字 \U0001F9EA"}) {
			ids := tokenizer.Encode(e.text, false)
			var joined []byte
			for _, id := range ids {
				b := tokenizer.Bytes(id)
				joined = append(joined, b...)
				if !utf8.Valid(b) {
					parts++
				}
			}
			want := tokenizer.Decode(ids, false)
			if !strings.Contains(want, "\uFFFD") {
				require.Equal(t, want, strings.TrimPrefix(string(joined), string(joined[:max(0, len(joined)-len(want))])), "%s: %q", name, e.text)
				require.LessOrEqual(t, len(joined)-len(want), 1, "%s: %q, of which one space is stripped at most", name, e.text)
			}
		}
		require.Positive(t, parts, name)
		require.Empty(t, tokenizer.Bytes(-1))
		require.Empty(t, tokenizer.Bytes(int32(tokenizer.VocabSize())))
	}
}
