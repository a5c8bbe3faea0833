package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// Checkpoint is an open model folder. Any number of goroutines may read it at
// once; Close comes after all of them.
type Checkpoint struct {
	config  Config
	files   []*File
	tensors map[string]Tensor
}

// Open opens a model folder, or a hub name such as "org/model" that is in the
// local Hugging Face cache. It reads the configuration and the headers of the
// weights; the weights themselves are read when they are touched.
func Open(path string) (*Checkpoint, error) {
	folder, err := ResolveFolder(path)
	if err != nil {
		return nil, err
	}
	return OpenFS(os.DirFS(folder), path)
}

// OpenFS opens a model folder inside a file system, such as an embedded one.
// name is what errors call it.
func OpenFS(fsys fs.FS, name string) (*Checkpoint, error) {
	config, err := readConfig(fsys, name)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{config: config, tensors: map[string]Tensor{}}
	if err := c.openWeights(fsys); err != nil {
		c.Close()
		return nil, fmt.Errorf("checkpoint: weights of %q: %w", name, err)
	}
	return c, nil
}

// Config is the model's configuration.
func (c *Checkpoint) Config() Config { return c.config }

// Names lists the tensors in alphabetical order.
func (c *Checkpoint) Names() []string { return slices.Sorted(maps.Keys(c.tensors)) }

// Tensor finds a tensor by name.
func (c *Checkpoint) Tensor(name string) (Tensor, error) {
	t, ok := c.tensors[name]
	if !ok {
		return Tensor{}, fmt.Errorf("checkpoint: no tensor %q", name)
	}
	return t, nil
}

// Close unmaps the weights. The data of tensors must not be used any more.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	c.files, c.tensors = nil, nil
	return errors.Join(errs...)
}

const (
	singleFile = "model.safetensors"
	indexFile  = "model.safetensors.index.json"
)

// openWeights opens model.safetensors or, without it, the shards that the index
// names.
func (c *Checkpoint) openWeights(fsys fs.FS) error {
	_, err := fs.Stat(fsys, singleFile)
	if err == nil {
		return c.openShard(fsys, singleFile)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, err := readText(fsys, indexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("neither %s nor %s: weights in other formats must be converted", singleFile, indexFile)
	}
	if err != nil {
		return err
	}
	shards, err := parseIndex(text)
	if err != nil {
		return fmt.Errorf("%s: %w", indexFile, err)
	}
	for _, shard := range slices.Sorted(maps.Keys(shards)) {
		if err := c.openShard(fsys, shard); err != nil {
			return err
		}
		file := c.files[len(c.files)-1]
		for _, name := range shards[shard] {
			if _, err := file.Tensor(name); err != nil {
				return fmt.Errorf("%s: tensor %q is not in %q", indexFile, name, shard)
			}
		}
	}
	return nil
}

func (c *Checkpoint) openShard(fsys fs.FS, shard string) error {
	file, err := OpenFile(fsys, shard)
	if err != nil {
		return err
	}
	c.files = append(c.files, file)
	for name, t := range file.tensors {
		if _, ok := c.tensors[name]; ok {
			return fmt.Errorf("tensor %q is in two files, one of them %q", name, shard)
		}
		c.tensors[name] = t
	}
	return nil
}

// parseIndex reads which tensors each shard holds.
func parseIndex(text []byte) (map[string][]string, error) {
	shards := map[string][]string{}
	r := newReader(text)
	err := r.object(func(key string) error {
		if key != "weight_map" {
			var ignored any
			return r.Decode(&ignored)
		}
		return r.object(func(tensor string) error {
			shard, err := r.string()
			if err == nil && (strings.ContainsAny(shard, `/\`) || !strings.HasSuffix(shard, ".safetensors")) {
				err = fmt.Errorf("want a .safetensors file of the same folder, got %q", shard)
			}
			shards[shard] = append(shards[shard], tensor)
			return err
		})
	})
	if err == nil {
		err = r.end()
	}
	if err == nil && len(shards) == 0 {
		err = errors.New(`"weight_map": want the file of each tensor, got nothing`)
	}
	return shards, err
}
