package tokenizer

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// smallFile is a valid tokenizer.json as a tree that tests change.
func smallFile() map[string]any {
	return map[string]any{
		"version":      "1.0",
		"added_tokens": []any{token(3, "<s>"), token(4, "</s>")},
		"decoder":      map[string]any{"type": "ByteLevel"},
		"pre_tokenizer": map[string]any{
			"type": "ByteLevel", "add_prefix_space": false, "use_regex": true,
		},
		"model": map[string]any{
			"type": "BPE", "vocab": map[string]any{"a": 0, "b": 1, "ab": 2}, "merges": []any{"a b"},
		},
	}
}

func token(id int, content string) map[string]any {
	return map[string]any{"id": id, "content": content, "special": true}
}

// loadTree loads a tokenizer.json given as a tree, with more files given as text.
func loadTree(t testing.TB, tree map[string]any, more map[string]string) (*Tokenizer, error) {
	t.Helper()
	data, err := json.Marshal(tree)
	require.NoError(t, err)
	fsys := fstest.MapFS{"tokenizer.json": {Data: data}}
	for name, text := range more {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return Load(fsys)
}

func TestLoadRefusesWithReason(t *testing.T) {
	type tree = map[string]any
	model := func(change tree) tree {
		m := smallFile()["model"].(tree)
		maps.Copy(m, change)
		return tree{"model": m}
	}
	split := func(pattern, behavior string) tree {
		return tree{"pre_tokenizer": tree{"type": "Sequence", "pretokenizers": []any{
			tree{"type": "Split", "pattern": tree{"Regex": pattern}, "behavior": behavior},
			tree{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
		}}}
	}
	sequence := func(steps ...any) tree { return tree{"decoder": tree{"type": "Sequence", "decoders": steps}} }
	template := func(pieces ...any) tree {
		return tree{"post_processor": tree{"type": "TemplateProcessing", "single": pieces,
			"special_tokens": tree{"<s>": tree{"ids": []int{3}}, "gone": tree{"ids": []int{99}}}}}
	}
	text, bos := tree{"Sequence": tree{"id": "A"}}, tree{"SpecialToken": tree{"id": "<s>"}}
	for name, c := range map[string]struct {
		change tree
		want   string
	}{
		"version":               {tree{"version": "2.0"}, `version "2.0"`},
		"model type":            {model(tree{"type": "Unigram"}), `model: type "Unigram"`},
		"dropout":               {model(tree{"dropout": 0.1}), "dropout 0.1"},
		"word suffix":           {model(tree{"end_of_word_suffix": "</w>"}), "end_of_word_suffix"},
		"merges of numbers":     {model(tree{"merges": []any{1}}), "neither pairs of strings nor strings"},
		"no vocabulary":         {model(tree{"vocab": nil}), "vocabulary is empty"},
		"unknown token":         {model(tree{"unk_token": "?"}), `unk_token "?"`},
		"merge of what is not":  {model(tree{"merges": []any{"a c"}}), `merge 0: not all of ["a" "c"]`},
		"merge into nothing":    {model(tree{"merges": []any{"b a"}}), `merge 0: not all of ["b" "a"]`},
		"merge of three":        {model(tree{"merges": []any{"a b a"}}), "two parts"},
		"merge of one":          {model(tree{"merges": []any{[]string{"a"}}}), "two parts"},
		"negative id":           {model(tree{"vocab": tree{"a": -1}, "merges": nil}), `token "a" has id -1`},
		"huge id":               {model(tree{"vocab": tree{"a": 1 << 30}, "merges": nil}), `token "a" has id 1073741824`},
		"id beyond int32":       {model(tree{"vocab": tree{"a": 1 << 40}}), "int32"},
		"shared id":             {model(tree{"vocab": tree{"a": 0, "b": 0, "ab": 1}}), "share id 0"},
		"added id":              {tree{"added_tokens": []any{token(7, "<s>")}}, `token "<s>" has id 7 where 3 is due`},
		"added id of the model": {tree{"added_tokens": []any{token(3, "ab")}}, `token "ab" has id 3 where 2 is due`},
		"added empty":           {tree{"added_tokens": []any{token(3, "")}}, "token 3 is empty"},
		"added twice":           {tree{"added_tokens": []any{token(0, "a"), token(0, "a")}}, `token "a" is empty or already there`},
		"normalizer":            {tree{"normalizer": tree{"type": "NFC"}}, `normalizer: type "NFC"`},
		"normalizer in a list":  {tree{"normalizer": tree{"type": "Sequence", "normalizers": []any{tree{"type": "Lowercase"}}}}, `type "Lowercase"`},
		"replace by pattern":    {tree{"normalizer": tree{"type": "Replace", "pattern": tree{"Regex": " +"}}}, "plain string"},
		"pre-tokenizer":         {tree{"pre_tokenizer": tree{"type": "Whitespace"}}, `pre_tokenizer: type "Whitespace"`},
		"pre-tokenizer list":    {tree{"pre_tokenizer": tree{"type": "Sequence"}}, "a Sequence other than"},
		"byte level unsplit":    {tree{"pre_tokenizer": tree{"type": "ByteLevel", "use_regex": false}}, "use_regex false"},
		"split pattern":         {split(`\w+|\s+`, "Isolated"), `split pattern "\\w+|\\s+"`},
		"split behavior":        {split(llama3Pattern, "Removed"), `behavior "Removed"`},
		"metaspace mark":        {tree{"pre_tokenizer": tree{"type": "Metaspace", "replacement": "__"}}, "one replacement character"},
		"metaspace scheme":      {tree{"pre_tokenizer": tree{"type": "Metaspace", "replacement": "_", "prepend_scheme": "last"}}, `"last"`},
		"metaspace contradicts": {tree{"pre_tokenizer": tree{"type": "Metaspace", "replacement": "_", "add_prefix_space": false}}, "contradicts"},
		"no decoder":            {tree{"decoder": nil}, "decoder: there is none"},
		"decoder":               {tree{"decoder": tree{"type": "WordPiece"}}, `decoder: type "WordPiece"`},
		"decoder order":         {sequence(tree{"type": "Fuse"}, tree{"type": "ByteFallback"}), `step 1 of type "ByteFallback"`},
		"strip before fuse":     {sequence(tree{"type": "Strip", "content": " ", "start": 1}), "only one Strip"},
		"strip at the end":      {sequence(tree{"type": "Fuse"}, tree{"type": "Strip", "content": " ", "stop": 1}), "only one Strip"},
		"post-processor":        {tree{"post_processor": tree{"type": "BertProcessing"}}, `post_processor: type "BertProcessing"`},
		"template without text": {template(bos), "the text 0 times"},
		"template with a pair":  {template(text, tree{"Sequence": tree{"id": "B"}}), "neither sequence A"},
		"template token":        {template(text, tree{"SpecialToken": tree{"id": "x"}}), `special token "x" is not defined`},
		"template id":           {template(text, tree{"SpecialToken": tree{"id": "gone"}}), "id 99 is not in the vocabulary"},
	} {
		t.Run(name, func(t *testing.T) {
			file := smallFile()
			maps.Copy(file, c.change)
			_, err := loadTree(t, file, nil)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "tokenizer: tokenizer.json: ")
		})
	}
	_, err := Load(fstest.MapFS{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "tokenizer.json")
}

func TestConfigNamesTokens(t *testing.T) {
	for name, c := range map[string]struct {
		config, names string
		bos, eos      int32
		encoded       []int32
		fails         string
	}{
		"nothing":            {"", "", -1, -1, []int32{2}, ""},
		"strings":            {`{"bos_token": "<s>", "eos_token": "</s>"}`, "", 3, 4, []int32{2}, ""},
		"objects":            {`{"bos_token": {"content": "<s>"}, "eos_token": null}`, "", 3, -1, []int32{2}, ""},
		"map file":           {`{"bos_token": "<s>"}`, `{"bos_token": "a", "eos_token": "</s>"}`, 3, 4, []int32{2}, ""},
		"add both":           {`{"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true, "add_eos_token": true}`, "", 3, 4, []int32{3, 2, 4}, ""},
		"add one":            {`{"bos_token": "<s>", "add_bos_token": true, "add_eos_token": true}`, "", 3, -1, []int32{3, 2}, ""},
		"not a token":        {`{"bos_token": "<t>"}`, "", 0, 0, nil, `token "<t>" is not in the vocabulary`},
		"not JSON":           {`{`, "", 0, 0, nil, "tokenizer_config.json: unexpected end"},
		"another vocabulary": {`{"added_tokens_decoder": {"5": {"content": "<s>"}}}`, "", 0, 0, nil, `token "<s>" as 5`},
	} {
		t.Run(name, func(t *testing.T) {
			more := map[string]string{}
			if c.config != "" {
				more["tokenizer_config.json"] = c.config
			}
			if c.names != "" {
				more["special_tokens_map.json"] = c.names
			}
			tokenizer, err := loadTree(t, smallFile(), more)
			if c.fails != "" {
				require.ErrorContains(t, err, c.fails)
				return
			}
			require.NoError(t, err)
			bos, hasBOS := tokenizer.BOS()
			eos, hasEOS := tokenizer.EOS()
			require.Equal(t, []int32{c.bos, c.eos}, []int32{bos, eos})
			require.Equal(t, []bool{c.bos >= 0, c.eos >= 0}, []bool{hasBOS, hasEOS})
			require.Equal(t, c.encoded, tokenizer.Encode("ab", true))
			require.Equal(t, []int32{2}, tokenizer.Encode("ab", false))
		})
	}
}

// The configuration's add_bos_token goes before the template of tokenizer.json.
func TestConfigReplacesTemplate(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "llama3", "tokenizer.json"))
	require.NoError(t, err)
	tokenizer, err := Load(fstest.MapFS{
		"tokenizer.json":        {Data: data},
		"tokenizer_config.json": {Data: []byte(`{"bos_token": "<|begin_of_text|>", "add_bos_token": false}`)},
	})
	require.NoError(t, err)
	require.Equal(t, tokenizer.Encode("some text", false), tokenizer.Encode("some text", true))
}

func TestPrependLeavesEmptyTextAlone(t *testing.T) {
	remove := component{Type: "Replace"}
	remove.Pattern.String = "x"
	steps, err := newNormalizer(&component{Type: "Sequence", Normalizers: []component{remove, {Type: "Prepend", Prepend: "_"}}})
	require.NoError(t, err)
	require.Equal(t, "", steps.apply("xx"))
	require.Equal(t, "_ab", steps.apply("axbx"))
}

// Merges are written as pairs by newer versions of the reference library and as lines by older ones.
func TestMergesAsLines(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "llama3", "tokenizer.json"))
	require.NoError(t, err)
	var file map[string]any
	require.NoError(t, json.Unmarshal(data, &file))
	model := file["model"].(map[string]any)
	var lines []string
	for _, pair := range model["merges"].([]any) {
		lines = append(lines, pair.([]any)[0].(string)+" "+pair.([]any)[1].(string))
	}
	require.NotEmpty(t, lines)
	model["merges"] = lines
	tokenizer, err := loadTree(t, file, nil)
	require.NoError(t, err)
	encoded, _ := readExpectations(t, "llama3")
	for _, e := range encoded[:500] {
		require.Equal(t, e.full, tokenizer.Encode(e.text, true), "%q", e.text)
	}
}

func TestVocabulary(t *testing.T) {
	tokenizer := loadTestTokenizer(t, "llama3")
	require.Equal(t, 2005, tokenizer.VocabSize())
	for id := range int32(tokenizer.VocabSize()) {
		token := tokenizer.TokenText(id)
		require.NotEmpty(t, token)
		got, ok := tokenizer.ID(token)
		require.True(t, ok)
		require.Equal(t, id, got)
	}
	for _, id := range []int32{-1, 2005, 1 << 30} {
		require.Empty(t, tokenizer.TokenText(id))
		require.Empty(t, tokenizer.Decode([]int32{id}, false))
	}
	_, ok := tokenizer.ID(strings.Repeat("no such token", 3))
	require.False(t, ok)
}
