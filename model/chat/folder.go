package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// tokenizerConfig is what counts for templates of tokenizer_config.json.
type tokenizerConfig struct {
	Template json.RawMessage `json:"chat_template"`
}

// configuredTemplate returns chat_template of the given file, and whether there is one.
func configuredTemplate(folder fs.FS, name string) (text string, found bool, err error) {
	var config tokenizerConfig
	if err := readOptional(folder, name, &config); err != nil {
		return "", false, err
	}
	if len(config.Template) == 0 || string(config.Template) == "null" {
		return "", false, nil
	}
	if json.Unmarshal(config.Template, &text) == nil {
		return text, true, nil
	}
	var named []struct{ Name, Template string }
	if err := json.Unmarshal(config.Template, &named); err != nil {
		return "", false, fmt.Errorf("%s: chat_template is neither a text nor a list of named ones: %w", name, err)
	}
	for _, template := range named {
		if template.Name == "default" {
			return template.Template, true, nil
		}
	}
	return "", false, fmt.Errorf(`%s: no chat_template is named "default"`, name)
}

// specialTokens are the entries of the folder's files whose name ends with _token and whose value is a token's text.
func specialTokens(folder fs.FS) (map[string]any, error) {
	found := map[string]any{}
	for _, file := range []string{"special_tokens_map.json", "tokenizer_config.json"} {
		var entries map[string]json.RawMessage
		if err := readOptional(folder, file, &entries); err != nil {
			return nil, fmt.Errorf("chat: %w", err)
		}
		for name, value := range entries {
			// add_bos_token and the like are no tokens but bools.
			if !strings.HasSuffix(name, "_token") || value[0] != '"' && value[0] != '{' {
				continue
			}
			var token tokenText
			if err := json.Unmarshal(value, &token); err != nil {
				return nil, fmt.Errorf("chat: %s: %s: %w", file, name, err)
			}
			found[name] = string(token)
		}
	}
	return found, nil
}

// tokenText is a token's text: a string, or an object with the string as its content.
type tokenText string

func (t *tokenText) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		return json.Unmarshal(data, (*string)(t))
	}
	var object struct {
		Content string `json:"content"`
	}
	err := json.Unmarshal(data, &object)
	*t = tokenText(object.Content)
	return err
}

// readOptional reads a JSON file, if there is one.
func readOptional(folder fs.FS, name string, into any) error {
	data, err := fs.ReadFile(folder, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
