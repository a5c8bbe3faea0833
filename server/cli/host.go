package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"

	"lorikeet/lora"
	"lorikeet/model"
	"lorikeet/server"
)

// host is what outlives a device: the files, what adapters may be like, and the adapters.
type host struct {
	config   *Config
	env      Env
	files    *files
	context  int // tokens of prompt and completion together
	base     lora.Base
	limits   lora.Limits    // of adapters
	registry *lora.Registry // nil: no adapters
}

// openHost opens the files and checks what needs no device.
func openHost(c *Config, env Env) (_ *host, err error) {
	h := &host{config: c, env: env}
	if h.files, err = openFiles(c, env); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	if err := c.checkType(string(h.files.config.Type)); err != nil {
		return nil, err
	}
	if most := h.files.config.MaxPositions; c.ContextLength > most {
		return nil, fmt.Errorf("--context-length %d: the model was made for %d tokens", c.ContextLength, most)
	}
	shape, err := model.ShapeOf(h.files.config, c.ContextLength)
	if err != nil {
		return nil, err
	}
	h.context, h.base = shape.Context, shape.Sites()
	if h.files.weights != nil {
		h.base.Table = model.Tables(h.files.weights)
	}
	if !c.EnableLoRA {
		return h, nil
	}
	if err := h.limitAdapters(); err != nil {
		return nil, err
	}
	h.registry = lora.NewRegistry(h.readAdapter, c.LoRAsPerBatch, c.MaxLoadedLoRAs)
	if c.LoRAEviction == "fifo" {
		h.registry.EvictOldest()
	}
	return h, nil
}

// limitAdapters decides which adapters fit: those of the flags or, where they are left out, those like the ones given at start.
func (h *host) limitAdapters() error {
	c := h.config
	targets, err := lora.ParseTargets(c.TargetModules)
	if err != nil {
		return err
	}
	var found lora.Limits
	for _, a := range c.adapters(h.env) {
		limits, err := lora.LimitsOf(a.Path, embedded(h.env, a.Path), h.base)
		if err != nil {
			return fmt.Errorf("--lora-paths %s=%s: %w", a.Name, a.Path, err)
		}
		found = found.Union(limits)
	}
	h.limits = lora.Limits{MaxRank: c.MaxLoRARank, Targets: targets}
	if c.MaxLoRARank == 0 {
		h.limits.MaxRank = found.MaxRank
	}
	if len(c.TargetModules) == 0 {
		h.limits.Targets = found.Targets
	}
	c.Arguments["max_lora_rank"] = h.limits.MaxRank // as it is in effect
	return nil
}

// loadAdapters registers the adapters to load at start.
func (h *host) loadAdapters(ctx context.Context) error {
	for _, a := range h.config.adapters(h.env) {
		if a.Name == h.config.ServedName {
			return fmt.Errorf("--served-model-name %s is an adapter's name", a.Name)
		}
		if err := h.registry.Load(ctx, a.Name, a.Path, a.Pinned); err != nil {
			return fmt.Errorf("--lora-paths %s=%s: %w", a.Name, a.Path, err)
		}
		slog.Info("adapter loaded", "name", a.Name, "path", a.Path)
	}
	return nil
}

// readAdapter reads an adapter from disk, or from the demo.
func (h *host) readAdapter(name, path string) (*lora.Adapter, error) {
	return lora.Read(name, path, embedded(h.env, path), h.base, h.limits)
}

// serverConfig is what the server says about the model, and its limits.
func (h *host) serverConfig() server.Config {
	c := h.config
	return server.Config{
		ModelPath: h.files.name, TokenizerPath: h.files.tokenizerName, ServedName: c.ServedName,
		ModelType: "llama", Architectures: []string{"LlamaForCausalLM"},
		ContextLength: h.context, VocabSize: h.files.config.VocabSize, EnableLoRA: c.EnableLoRA, AdapterSlots: c.LoRAsPerBatch,
		AllowAutoTruncate: c.AutoTruncate, APIKey: c.APIKey, RandomSeed: c.RandomSeed, Arguments: c.Arguments, Version: version(),
		Priorities: c.Priorities, StreamsNews: c.StreamsNews, EnableMetrics: c.Metrics, LogInterval: c.LogInterval, Chat: h.files.chat, ChatSampling: h.files.config.Sampling,
	}
}

// tokenizer is nil when there is none.
func (h *host) tokenizer() server.Tokenizer {
	if h.files.tokenizer == nil {
		return nil
	}
	return tokenizerOf{h.files.tokenizer}
}

func (h *host) close() error { return h.files.close() }

// embeddedPrefix begins the paths of the demo's adapters.
const embeddedPrefix = "embedded:"

// embedded is the folder of one of the demo's adapters, or nil for any other path.
func embedded(env Env, path string) fs.FS {
	name, ok := strings.CutPrefix(path, embeddedPrefix)
	if !ok {
		return nil
	}
	folder, err := fs.Sub(env.Demo, "adapters/"+name)
	if err != nil {
		return nil
	}
	return folder
}

// adapters are those to load at start: the command line's, else the demo's own.
func (c *Config) adapters(env Env) []AdapterPath {
	if !c.EnableLoRA || len(c.Adapters) > 0 || !c.Demo() {
		return c.Adapters
	}
	entries, err := fs.ReadDir(env.Demo, "adapters")
	if err != nil {
		return nil
	}
	var all []AdapterPath
	for _, e := range entries {
		all = append(all, AdapterPath{Name: e.Name(), Path: embeddedPrefix + e.Name()})
	}
	return all
}
