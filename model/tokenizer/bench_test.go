package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// benchText is some prose and code in several scripts, about 20 kB.
func benchText(b *testing.B) string {
	b.Helper()
	var texts []string
	readGzip(b, &texts, "texts.json.gz")
	var plain []string
	for _, text := range texts {
		if len(text) > 40 && strings.Contains(text, " ") {
			plain = append(plain, text)
		}
	}
	return strings.Join(plain, " ")[:20000]
}

func BenchmarkEncode(b *testing.B) {
	text := benchText(b)
	english := strings.Repeat("The old bird doesn't sing in 1999; we walked under the tree and know why.\n", 270)
	for _, name := range []string{"llama3", "gpt2", "llama2-prepend"} {
		tokenizer := loadTestTokenizer(b, name)
		for kind, text := range map[string]string{"mixed": text, "english": english} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				for b.Loop() {
					tokenizer.Encode(text, true)
				}
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	text := benchText(b)
	for _, name := range []string{"llama3", "llama2-prepend"} {
		tokenizer := loadTestTokenizer(b, name)
		ids := tokenizer.Encode(text, true)
		b.Run(name+"/whole", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tokenizer.Decode(ids, true)
			}
		})
		b.Run(name+"/push", func(b *testing.B) {
			d := tokenizer.NewDecoder(true)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				d.Push(ids[i%len(ids)])
			}
		})
	}
}

// BenchmarkLoad reads a vocabulary as large as Llama 3's: 128 000 tokens and 280 000 merges.
func BenchmarkLoad(b *testing.B) {
	vocab, merges := map[string]int32{}, [][2]string{}
	name := func(i int) string { return fmt.Sprintf("%05x", i) }
	for i := range 64000 {
		vocab[name(i)] = int32(len(vocab))
	}
	for i := range 64000 {
		vocab[name(i)+name((i+1)%64000)] = int32(len(vocab))
	}
	for i := range 280000 {
		i %= 64000
		merges = append(merges, [2]string{name(i), name((i + 1) % 64000)})
	}
	file := smallFile()
	file["added_tokens"] = nil
	file["model"] = map[string]any{"type": "BPE", "vocab": vocab, "merges": merges}
	data, err := json.Marshal(file)
	require.NoError(b, err)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		_, err := Load(fstest.MapFS{"tokenizer.json": {Data: data}})
		require.NoError(b, err)
	}
}
