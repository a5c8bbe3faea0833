package tokenizer

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// tokenizerNames are the folders of testdata; tools/tokenizers/generate.py says what each is for.
var tokenizerNames = []string{
	"llama3", "gpt2", "llama2-prepend", "llama2-metaspace", "metaspace-split", "unknown", "odd-llama3", "odd-llama2",
}

// expectation is what the reference library makes of a text.
type expectation struct {
	text          string
	plain, full   []int32 // ids without and with special tokens added
	kept, skipped string  // full decoded, special tokens kept and left out
}

// decoding is what the reference library makes of a list of ids.
type decoding struct {
	ids           []int32
	kept, skipped string
}

func loadTestTokenizer(t testing.TB, name string) *Tokenizer {
	t.Helper()
	tokenizer, err := Load(os.DirFS(filepath.Join("testdata", name)))
	require.NoError(t, err)
	return tokenizer
}

func readGzip(t testing.TB, into any, path ...string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, path...)...))
	require.NoError(t, err)
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	require.NoError(t, err)
	raw, err := io.ReadAll(unzipped)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, into))
}

func readExpectations(t testing.TB, name string) ([]expectation, []decoding) {
	t.Helper()
	var texts []string
	readGzip(t, &texts, "texts.json.gz")
	var file struct {
		Encoded, Decoded [][]json.RawMessage
	}
	readGzip(t, &file, name, "cases.json.gz")
	require.Len(t, file.Encoded, len(texts))
	require.Greater(t, len(texts), 3000)
	encoded := make([]expectation, len(texts))
	for i, row := range file.Encoded {
		e := expectation{text: texts[i], kept: texts[i], skipped: texts[i]} // null: as the text
		unmarshalRow(t, row, &e.plain, &e.full, &e.kept, &e.skipped)
		encoded[i] = e
	}
	decoded := make([]decoding, len(file.Decoded))
	for i, row := range file.Decoded {
		unmarshalRow(t, row, &decoded[i].ids, &decoded[i].kept, &decoded[i].skipped)
	}
	return encoded, decoded
}

func unmarshalRow(t testing.TB, row []json.RawMessage, into ...any) {
	t.Helper()
	require.Len(t, row, len(into))
	for i, column := range row {
		require.NoError(t, json.Unmarshal(column, into[i]))
	}
}

func forEachTokenizer(t *testing.T, test func(t *testing.T, tokenizer *Tokenizer, encoded []expectation, decoded []decoding)) {
	for _, name := range tokenizerNames {
		t.Run(name, func(t *testing.T) {
			encoded, decoded := readExpectations(t, name)
			test(t, loadTestTokenizer(t, name), encoded, decoded)
		})
	}
}

func TestEncodeEqualsReference(t *testing.T) {
	forEachTokenizer(t, func(t *testing.T, tokenizer *Tokenizer, encoded []expectation, _ []decoding) {
		for _, e := range encoded {
			require.Equal(t, e.plain, tokenizer.Encode(e.text, false), "%q", e.text)
			require.Equal(t, e.full, tokenizer.Encode(e.text, true), "%q", e.text)
		}
	})
}

func TestDecodeEqualsReference(t *testing.T) {
	forEachTokenizer(t, func(t *testing.T, tokenizer *Tokenizer, encoded []expectation, decoded []decoding) {
		for _, e := range encoded {
			require.Equal(t, e.kept, tokenizer.Decode(e.full, false), "%q", e.text)
			require.Equal(t, e.skipped, tokenizer.Decode(e.full, true), "%q", e.text)
		}
		for _, d := range decoded {
			require.Equal(t, d.kept, tokenizer.Decode(d.ids, false), "%d", d.ids)
			require.Equal(t, d.skipped, tokenizer.Decode(d.ids, true), "%d", d.ids)
		}
	})
}

func TestDecoderJoinsToReference(t *testing.T) {
	forEachTokenizer(t, func(t *testing.T, tokenizer *Tokenizer, encoded []expectation, decoded []decoding) {
		kept, skipped := tokenizer.NewDecoder(false), tokenizer.NewDecoder(true)
		for _, e := range encoded {
			require.Equal(t, e.kept, stream(t, kept, e.full), "%q", e.text)
			require.Equal(t, e.skipped, stream(t, skipped, e.full), "%q", e.text)
		}
		for _, d := range decoded {
			require.Equal(t, d.kept, stream(t, kept, d.ids), "%d", d.ids)
			require.Equal(t, d.skipped, stream(t, skipped, d.ids), "%d", d.ids)
		}
	})
}

// stream decodes ids one by one and checks that each piece is whole.
func stream(t *testing.T, d *Decoder, ids []int32) string {
	t.Helper()
	joined := ""
	for _, id := range ids {
		piece := d.Push(id)
		require.True(t, utf8.ValidString(piece), "%q", piece)
		joined += piece
	}
	return joined + d.Flush()
}
