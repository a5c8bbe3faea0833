package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
)

// tokenizerFile is tokenizer.json. Its truncation and padding are for batches of a fixed shape and play no part here.
type tokenizerFile struct {
	Version       string       `json:"version"`
	AddedTokens   []addedToken `json:"added_tokens"`
	Normalizer    *component   `json:"normalizer"`
	PreTokenizer  *component   `json:"pre_tokenizer"`
	PostProcessor *component   `json:"post_processor"`
	Decoder       *component   `json:"decoder"`
	Model         modelFile    `json:"model"`
}

// component is any normalizer, pre-tokenizer, post-processor or decoder: Type says which, and with it which other fields count.
type component struct {
	Type string `json:"type"`

	// Sequence
	Normalizers   []component `json:"normalizers"`
	Pretokenizers []component `json:"pretokenizers"`
	Processors    []component `json:"processors"`
	Decoders      []component `json:"decoders"`

	// Prepend, Replace, Split, Strip
	Prepend string `json:"prepend"`
	Pattern struct {
		String string `json:"String"`
		Regex  string `json:"Regex"`
	} `json:"pattern"`
	Content  string `json:"content"`
	Behavior string `json:"behavior"`
	Invert   bool   `json:"invert"`
	Start    int    `json:"start"`
	Stop     int    `json:"stop"`

	// ByteLevel, Metaspace
	AddPrefixSpace *bool  `json:"add_prefix_space"`
	UseRegex       *bool  `json:"use_regex"`
	Replacement    string `json:"replacement"`
	PrependScheme  string `json:"prepend_scheme"`
	Split          *bool  `json:"split"`

	// TemplateProcessing
	Single        []templatePiece `json:"single"`
	SpecialTokens map[string]struct {
		IDs []int32 `json:"ids"`
	} `json:"special_tokens"`
}

// mergeList is the merges, each written as ["left", "right"], or as "left right" in older files.
type mergeList [][]string

func (m *mergeList) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, (*[][]string)(m)); err == nil {
		return nil
	}
	var lines []string
	if err := json.Unmarshal(data, &lines); err != nil {
		return fmt.Errorf("merges are neither pairs of strings nor strings: %w", err)
	}
	*m = make(mergeList, len(lines))
	for i, line := range lines {
		(*m)[i] = strings.Split(line, " ")
	}
	return nil
}

// configFile is what counts here of tokenizer_config.json and special_tokens_map.json.
type configFile struct {
	BOS    *tokenName `json:"bos_token"`
	EOS    *tokenName `json:"eos_token"`
	AddBOS *bool      `json:"add_bos_token"`
	AddEOS *bool      `json:"add_eos_token"`
	Added  map[int32]struct {
		Content string `json:"content"`
	} `json:"added_tokens_decoder"`
}

// tokenName is a token's text, written as a string or as {"content": string}.
type tokenName string

func (n *tokenName) UnmarshalJSON(data []byte) error {
	var object struct {
		Content string `json:"content"`
	}
	if data[0] == '"' {
		return json.Unmarshal(data, (*string)(n))
	}
	err := json.Unmarshal(data, &object)
	*n = tokenName(object.Content)
	return err
}
