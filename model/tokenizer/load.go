package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// maxID bounds ids, so that a broken file cannot claim gigabytes. The largest vocabularies in use have 2^18 entries.
const maxID = 1 << 21

// Load reads tokenizer.json from a model's folder, and tokenizer_config.json and special_tokens_map.json where they exist: these
// name the beginning and end tokens, and what tokenizer_config.json says of add_bos_token and add_eos_token goes before
// tokenizer.json's template. Chat templates and clean-up of spaces after decoding are not part of it. An error says which
// part of the file is wrong or not supported.
func Load(fsys fs.FS) (*Tokenizer, error) {
	var file tokenizerFile
	if err := readJSON(fsys, "tokenizer.json", &file); err != nil {
		return nil, err
	}
	t, err := build(&file)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: tokenizer.json: %w", err)
	}
	var config, names configFile
	if err := readOptional(fsys, "tokenizer_config.json", &config); err != nil {
		return nil, err
	}
	if err := readOptional(fsys, "special_tokens_map.json", &names); err != nil {
		return nil, err
	}
	if config.BOS == nil {
		config.BOS = names.BOS
	}
	if config.EOS == nil {
		config.EOS = names.EOS
	}
	if err := t.configure(&config); err != nil {
		return nil, fmt.Errorf("tokenizer: tokenizer_config.json: %w", err)
	}
	return t, nil
}

func readJSON(fsys fs.FS, name string, into any) error {
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return fmt.Errorf("tokenizer: read: %w", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("tokenizer: %s: %w", name, err)
	}
	return nil
}

func readOptional(fsys fs.FS, name string, into any) error {
	err := readJSON(fsys, name, into)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func build(file *tokenizerFile) (*Tokenizer, error) {
	if file.Version != "1.0" {
		return nil, fmt.Errorf("version %q is not supported, only 1.0", file.Version)
	}
	t := &Tokenizer{bos: -1, eos: -1}
	t.scratch.New = func() any { return new(scratch) }
	var err error
	if t.normalizer, err = newNormalizer(file.Normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if t.splitter, err = newSplitter(file.PreTokenizer); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	if t.model, err = newBPE(&file.Model); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if t.decoder, err = newDecoder(file.Decoder); err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	if err := t.indexTexts(file.AddedTokens); err != nil {
		return nil, err
	}
	if err := t.addTokens(file.AddedTokens); err != nil {
		return nil, fmt.Errorf("added_tokens: %w", err)
	}
	if err := t.template.wrap(file.PostProcessor); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	for _, id := range slices.Concat(t.template.before, t.template.after) {
		if t.TokenText(id) == "" {
			return nil, fmt.Errorf("post_processor: id %d is not in the vocabulary", id)
		}
	}
	t.mostBytes = t.boundBytes()
	return t, nil
}

// indexTexts checks all ids and fills texts from the model's vocabulary.
func (t *Tokenizer) indexTexts(added []addedToken) error {
	last := int32(-1)
	check := func(token string, id int32) error {
		if id < 0 || id >= maxID {
			return fmt.Errorf("token %q has id %d, outside of 0 to %d", token, id, maxID-1)
		}
		last = max(last, id)
		return nil
	}
	for token, id := range t.model.vocab {
		if err := check(token, id); err != nil {
			return err
		}
	}
	for _, token := range added {
		if err := check(token.Content, token.ID); err != nil {
			return err
		}
	}
	t.texts, t.special = make([]string, last+1), make([]bool, last+1)
	for token, id := range t.model.vocab {
		if t.texts[id] != "" {
			return fmt.Errorf("tokens %q and %q share id %d", t.texts[id], token, id)
		}
		t.texts[id] = token
	}
	return nil
}

// addTokens adds the added tokens in order. The reference library numbers them itself: those of the model's vocabulary keep their
// id, the others are counted on from its size. A file that says otherwise is refused, as nobody could say which id is meant.
func (t *Tokenizer) addTokens(added []addedToken) error {
	t.added = make(map[string]int32, len(added))
	next := int32(len(t.model.vocab))
	for _, token := range added {
		if token.Content == "" {
			return fmt.Errorf("token %d is empty", token.ID)
		}
		want, known := t.model.vocab[token.Content]
		if !known {
			want = next
			next++
		}
		if token.ID != want {
			return fmt.Errorf("token %q has id %d where %d is due", token.Content, token.ID, want)
		}
		in, form := &t.raw, token.Content
		if token.Normalized {
			in, form = &t.normalized, t.normalizer.apply(token.Content)
		}
		if form == "" || !in.add(form, token) {
			return fmt.Errorf("token %q is empty or already there", token.Content)
		}
		t.added[token.Content] = token.ID
		// A normalized token decodes to its normalized form, from which the decoder recovers the space before it.
		t.texts[token.ID], t.special[token.ID] = form, token.Special
	}
	return nil
}

// configure applies tokenizer_config.json.
func (t *Tokenizer) configure(c *configFile) error {
	for id, token := range c.Added {
		if got, ok := t.ID(token.Content); !ok || got != id {
			return fmt.Errorf("added_tokens_decoder has token %q as %d, tokenizer.json does not", token.Content, id)
		}
	}
	for _, named := range []struct {
		name *tokenName
		id   *int32
	}{{c.BOS, &t.bos}, {c.EOS, &t.eos}} {
		if named.name == nil || *named.name == "" {
			continue
		}
		id, ok := t.ID(string(*named.name))
		if !ok {
			return fmt.Errorf("token %q is not in the vocabulary", *named.name)
		}
		*named.id = id
	}
	if c.AddBOS == nil && c.AddEOS == nil {
		return nil
	}
	t.template = template{}
	if c.AddBOS != nil && *c.AddBOS && t.bos >= 0 {
		t.template.before = []int32{t.bos}
	}
	if c.AddEOS != nil && *c.AddEOS && t.eos >= 0 {
		t.template.after = []int32{t.eos}
	}
	return nil
}
