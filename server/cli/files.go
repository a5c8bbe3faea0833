package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"lorikeet/model/checkpoint"
	"lorikeet/model/tokenizer"
)

// files are the model's config, weights and tokenizer.
type files struct {
	name, tokenizerName string
	config              checkpoint.Config
	weights             *checkpoint.Checkpoint // nil: random weights
	tokenizer           *tokenizer.Tokenizer   // nil: the model takes and gives ids only
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
	return err
}

func (f *files) close() error {
	if f.weights == nil {
		return nil
	}
	return f.weights.Close()
}

// endTokens are the ids that end an answer: those of the configuration, or else the tokenizer's.
func (f *files) endTokens() []int32 {
	if len(f.config.EOS) > 0 || f.tokenizer == nil {
		return f.config.EOS
	}
	if id, ok := f.tokenizer.EOS(); ok {
		return []int32{id}
	}
	return nil
}
