package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzLoad feeds files to Load. One that is refused has a reason; one that is taken encodes and decodes without a panic.
func FuzzLoad(f *testing.F) {
	small, err := json.Marshal(smallFile())
	require.NoError(f, err)
	f.Add(small, []byte(`{"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": true}`))
	f.Add([]byte(`{"version": "1.0", "added_tokens": [{"id": 3, "content": "<s>", "lstrip": true, "rstrip": true, "single_word": true}],
		"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "_"}, {"type": "Replace", "pattern": {"String": " "}, "content": "_"}]},
		"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"<s>": {"ids": [3]}}},
		"decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "_"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
		"model": {"type": "BPE", "byte_fallback": true, "unk_token": "<0x61>", "vocab": {"<0x61>": 0, "_": 1, "__": 2}, "merges": [["_", "_"]]}}`), []byte(`{}`))
	f.Add([]byte(`{"version": "1.0", "pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "first", "split": true},
		"decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": {"a": 1}}}`), []byte(`[]`))
	f.Fuzz(func(t *testing.T, file, config []byte) {
		tokenizer, err := Load(fstest.MapFS{"tokenizer.json": {Data: file}, "tokenizer_config.json": {Data: config}})
		if err != nil {
			require.ErrorContains(t, err, "tokenizer: ")
			return
		}
		for _, text := range []string{"", " ", "a  b<s> ab", "aaaaaaaa", "é中😀\n\xff"} {
			ids := tokenizer.Encode(text, true)
			for _, id := range ids {
				require.Less(t, int(id), tokenizer.VocabSize())
			}
			require.True(t, utf8.ValidString(tokenizer.Decode(ids, true)))
		}
	})
}

// FuzzRoundTrip encodes texts and wants them back.
func FuzzRoundTrip(f *testing.F) {
	for _, text := range []string{"", "The bird's song", " \n\n  x", "中文 😀 don'T 1234567", "<|eot_id|> <s>", "\xff\xfe", "▁a ▁"} {
		f.Add(text)
	}
	byteLevel, err := Load(os.DirFS(filepath.Join("testdata", "llama3")))
	require.NoError(f, err)
	sentencePiece, err := Load(os.DirFS(filepath.Join("testdata", "llama2-prepend")))
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, text string) {
		want := strings.ToValidUTF8(text, "\uFFFD")
		ids := byteLevel.Encode(text, false)
		require.Equal(t, want, byteLevel.Decode(ids, false))
		require.Equal(t, want, stream(t, byteLevel.NewDecoder(false), ids))

		// A SentencePiece-style vocabulary writes spaces as ▁, so it cannot tell the two apart; a text written as a byte token is
		// decoded as that byte; and text behind a special token gets a space.
		if strings.Contains(text, "<") {
			return
		}
		want = strings.ReplaceAll(want, "▁", " ")
		require.Equal(t, want, sentencePiece.Decode(sentencePiece.Encode(text, true), true))
	})
}
