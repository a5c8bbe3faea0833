// Package chat turns conversations into the text of prompts by Hugging Face's chat templates, as transformers' apply_chat_template
// does.
//
// A template is a text in Jinja. What is read of Jinja means exactly what it means in Jinja2, and what is not is an error:
//
//	lex.go     cuts the text into tokens, with the strings of literals.go
//	parse.go   makes nodes of tokens: tags.go by parse_tag.go, and expression.go by parse_expression.go and parse_value.go
//	blocks.go  knows which part of a template a variable belongs to
//	render.go  executes tags, with loops.go
//	eval.go    evaluates expressions, with eval_items.go, operators.go, items.go, calls.go, strings.go, filters.go, is.go and globals.go
//	values.go  are Python's values, as json.go reads them from JSON and writes them
package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"time"
)

// Template is a chat template. It never changes and is safe for concurrent use.
type Template struct {
	whole  *block
	tokens map[string]any // special tokens by the names that templates know them under
	now    func() time.Time
}

// Conversation is what a template is rendered with.
type Conversation struct {
	// Messages are JSON objects, mostly with "role" and "content". The order of their keys is kept.
	Messages []json.RawMessage
	// Variables are more values for the template, such as "tools". They override special tokens, but not the messages and
	// add_generation_prompt.
	Variables map[string]json.RawMessage
	// AddGenerationPrompt asks for the beginning of the assistant's next message at the end.
	AddGenerationPrompt bool
}

// Error says why a conversation could not be rendered: it does not fit the template, which may have said so itself.
type Error struct{ Message string }

func (e *Error) Error() string { return e.Message }

// Read reads the template of a model's folder: chat_template.jinja if there is one, else chat_template of
// tokenizer_config.json, which is a text or a list of named ones of which "default" is taken. It returns nil without an error if the
// folder has none. Special tokens are those of tokenizer_config.json and, where it names none, of special_tokens_map.json.
func Read(folder fs.FS) (*Template, error) {
	name := "chat_template.jinja"
	data, err := fs.ReadFile(folder, name)
	text := string(data)
	if errors.Is(err, fs.ErrNotExist) {
		name = "tokenizer_config.json"
		var found bool
		if text, found, err = configuredTemplate(folder, name); err == nil && !found {
			return nil, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("chat: %w", err)
	}
	return build(name, text, folder)
}

// Parse reads a template given as text. Special tokens come from the model's folder as in Read.
func Parse(text string, folder fs.FS) (*Template, error) {
	return build("template", text, folder)
}

func build(name, text string, folder fs.FS) (*Template, error) {
	t := &Template{now: time.Now}
	var err error
	if t.tokens, err = specialTokens(folder); err != nil {
		return nil, err
	}
	if t.whole, err = parse(text); err != nil {
		return nil, fmt.Errorf("chat: %s: %w", name, err)
	}
	return t, nil
}

// Render returns the text of the prompt, special tokens written out: it is to be encoded without adding them. Every error is a
// *Error.
func (t *Template) Render(c Conversation) (text string, err error) {
	defer func() {
		if r := recover(); r != nil {
			text, err = "", &Error{fmt.Sprintf("the chat template fails: %v", r)}
		}
	}()
	values, err := t.variables(c)
	if err != nil {
		return "", err
	}
	outside := &scope{values, &scope{values: templateGlobals(t.now)}}
	r := &renderer{out: &strings.Builder{}}
	err = r.render(t.whole.nodes, t.whole.scope(outside))
	if err == nil {
		return r.out.String(), nil
	}
	var raised *Error
	if errors.As(err, &raised) {
		return "", raised
	}
	return "", &Error{err.Error()}
}

func (t *Template) variables(c Conversation) (map[string]any, error) {
	values := map[string]any{"tools": nil, "documents": nil}
	maps.Copy(values, t.tokens)
	for name, data := range c.Variables {
		value, err := decodeJSON(data)
		if err != nil {
			return nil, &Error{fmt.Sprintf("%s: %v", name, err)}
		}
		values[name] = value
	}
	messages := make([]any, len(c.Messages))
	for i, data := range c.Messages {
		message, err := decodeJSON(data)
		if err != nil {
			return nil, &Error{fmt.Sprintf("message %d: %v", i, err)}
		}
		if _, ok := message.(*dict); !ok {
			return nil, &Error{fmt.Sprintf("message %d: a %s, not an object", i, typeName(message))}
		}
		messages[i] = message
	}
	values["messages"], values["add_generation_prompt"] = messages, c.AddGenerationPrompt
	return values, nil
}
