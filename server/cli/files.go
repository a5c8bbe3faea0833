package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"

	"lorikeet/model/chat"
	"lorikeet/model/checkpoint"
	"lorikeet/model/tokenizer"
	"lorikeet/server"
)

// files are the model's config, weights, tokenizer and chat template.
type files struct {
	name, tokenizerName string
	config              checkpoint.Config
	weights             *checkpoint.Checkpoint // nil: random weights
	tokenizer           *tokenizer.Tokenizer   // nil: the model takes and gives ids only
	chat                server.ChatTemplate    // nil: the model has none
}

// demoName is the embedded demo's model_path.
const demoName = "lorikeet-demo"

// openFiles opens what --model-path, --load-format and --tokenizer-path name.
func openFiles(c *Config, env Env) (*files, error) {
	f := &files{name: c.ModelPath, tokenizerName: c.TokenizerPath}
	folder := env.Demo
	if c.Demo() {
		f.name = demoName
	} else {
		path, err := checkpoint.ResolveFolder(c.ModelPath)
		if err != nil {
			return nil, fmt.Errorf("--model-path: %w", err)
		}
		folder = os.DirFS(path)
	}
	if err := f.openWeights(c, folder); err != nil {
		return nil, err
	}
	if err := f.openTokenizer(c, folder); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *files) openWeights(c *Config, folder fs.FS) (err error) {
	if c.LoadFormat == "dummy" {
		f.config, err = checkpoint.OpenConfig(c.ModelPath)
		return err
	}
	if c.Demo() {
		f.weights, err = checkpoint.OpenFS(folder, f.name)
	} else {
		f.weights, err = checkpoint.Open(c.ModelPath)
	}
	if err != nil {
		return err
	}
	f.config = f.weights.Config()
	return nil
}

func (f *files) openTokenizer(c *Config, folder fs.FS) error {
	if f.tokenizerName == "" {
		f.tokenizerName = f.name
	} else {
		path, err := checkpoint.ResolveFolder(c.TokenizerPath)
		if err != nil {
			return fmt.Errorf("--tokenizer-path: %w", err)
		}
		folder = os.DirFS(path)
	}
	var err error
	f.tokenizer, err = tokenizer.Load(folder)
	// Random weights are often made from a config alone.
	if errors.Is(err, fs.ErrNotExist) && c.LoadFormat == "dummy" && c.TokenizerPath == "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.tokenizerName, err)
	}
	return f.openChat(c, folder)
}

// openChat reads the chat template that --chat-template names, or that of the tokenizer's folder. A model whose own template is
// beyond this server still serves all but conversations, which then say why.
func (f *files) openChat(c *Config, folder fs.FS) error {
	if c.ChatTemplate == "" {
		template, err := chat.Read(folder)
		if err != nil {
			slog.Warn("there will be no /v1/chat/completions", "why", err)
		}
		if template != nil || err != nil {
			f.chat = &templateOf{template, err}
		}
		return nil
	}
	text, err := os.ReadFile(c.ChatTemplate)
	if err != nil {
		return fmt.Errorf("--chat-template: %w", err)
	}
	template, err := chat.Parse(string(text), folder)
	if err != nil {
		return fmt.Errorf("--chat-template: %w", err)
	}
	f.chat = &templateOf{template, nil}
	return nil
}

func (f *files) close() error {
	if f.weights == nil {
		return nil
	}
	return f.weights.Close()
}

// endTokens are the ids that end an answer: those of the configuration and the tokenizer's, which alone is changed where a model was
// trained further for conversations.
func (f *files) endTokens() []int32 {
	if f.tokenizer == nil {
		return f.config.EOS
	}
	if id, ok := f.tokenizer.EOS(); ok && !slices.Contains(f.config.EOS, id) {
		return append(slices.Clone(f.config.EOS), id)
	}
	return f.config.EOS
}
