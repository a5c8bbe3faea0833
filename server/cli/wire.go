package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/model"
	"lorikeet/model/tokenizer"
	"lorikeet/server"
	"lorikeet/server/engine"
)

// maxWaiting is how many requests may wait to be run; more are answered 503.
const maxWaiting = 16384

// parts is everything between a Config and an engine, in the order in which it is made.
type parts struct {
	files     *files
	device    *compute.Device
	profiler  *compute.Profiler // nil: no profile
	limits    lora.Limits       // of adapters
	base      lora.Base
	residency *lora.Residency // nil: no adapters
	model     *model.Llama
}

// build makes the machine that a Config describes.
func build(ctx context.Context, c *Config, env Env) (*machine, error) {
	p, err := assemble(ctx, c, env)
	if err != nil {
		return nil, err
	}
	limits := p.model.Limits()
	var registry *lora.Registry
	var slots engine.Slots
	if p.residency != nil {
		registry = lora.NewRegistry(p.readAdapter(env), c.LoRAsPerBatch, c.MaxLoadedLoRAs)
		slots = p.residency
	}
	vocab := p.files.config.VocabSize
	e := engine.New(engine.Config{
		Overlap: !c.NoOverlap, EndTokens: p.files.endTokens(), Vocab: vocab, MaxWaiting: maxWaiting,
	}, p.model, registry, slots)
	for _, a := range c.adapters(env) {
		if err := e.LoadAdapter(ctx, a.Name, a.Path, a.Pinned); err != nil {
			return nil, errors.Join(fmt.Errorf("--lora-paths %s=%s: %w", a.Name, a.Path, err), p.close())
		}
		slog.Info("adapter loaded", "name", a.Name, "path", a.Path)
	}
	m := &machine{
		engine: engineOf{e},
		server: server.Config{
			ModelPath: p.files.name, TokenizerPath: p.files.tokenizerName,
			ModelType: "llama", Architectures: []string{"LlamaForCausalLM"},
			ContextLength: limits.Context, MaxTotalTokens: limits.Pages * model.PageTokens, VocabSize: vocab,
		},
		run: func(ctx context.Context) error {
			if err := e.Run(ctx); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		},
		close: func() error { return errors.Join(p.writeProfile(c.Profile), p.close()) },
	}
	if p.files.tokenizer != nil {
		m.tokenizer = tokenizerOf{p.files.tokenizer}
	}
	return m, nil
}

// plan prints the program of a step. Speed and shape do not depend on the values of weights, so none are read.
func plan(ctx context.Context, c *Config, env Env, tokens int, adapters bool) error {
	if !c.Demo() {
		c.LoadFormat = "dummy"
	}
	p, err := assemble(ctx, c, env)
	if err != nil {
		return err
	}
	return errors.Join(p.model.Plan(env.Stdout, tokens, adapters), p.close())
}

// assemble opens the files, the device and the model on it.
func assemble(ctx context.Context, c *Config, env Env) (_ *parts, err error) {
	p := new(parts)
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.files, err = openFiles(c, env); err != nil {
		return nil, err
	}
	if err := c.checkType(string(p.files.config.Type)); err != nil {
		return nil, err
	}
	if err := p.openDevice(c); err != nil {
		return nil, err
	}
	if most := p.files.config.MaxPositions; c.ContextLength > most {
		return nil, fmt.Errorf("--context-length %d: the model was made for %d tokens", c.ContextLength, most)
	}
	shape, err := model.ShapeOf(p.files.config, c.ContextLength)
	if err != nil {
		return nil, err
	}
	p.base = shape.Sites()
	if err := p.makeRoomForAdapters(c, env); err != nil {
		return nil, err
	}
	return p, p.openModel(ctx, c, env)
}

func (p *parts) openDevice(c *Config) error {
	name, err := c.chooseDevice(compute.Devices)
	if err != nil {
		return err
	}
	if p.device, err = compute.Open(compute.Options{Device: name, CachePath: cachePath()}); err != nil {
		return err
	}
	info := p.device.Info()
	slog.Info("device", "name", info.Name, "type", info.Type.String(), "driver", info.Driver, "free", size(info.LocalFree))
	if err := c.checkDevice(info); err != nil {
		return err
	}
	if c.Profile == "" {
		return nil
	}
	if info.TimestampPeriod == 0 {
		return fmt.Errorf("--profile: %s has no timestamps", info.Name)
	}
	p.profiler = compute.NewProfiler(p.device)
	return nil
}

// cachePath is where compiled pipelines are kept between processes; "" where there is no such place.
func cachePath() string {
	folder, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(folder, "lorikeet", "pipelines")
}

// makeRoomForAdapters decides which adapters fit and makes their table.
func (p *parts) makeRoomForAdapters(c *Config, env Env) error {
	if !c.EnableLoRA {
		return nil
	}
	targets, err := lora.ParseTargets(c.TargetModules)
	if err != nil {
		return err
	}
	var found lora.Limits
	for _, a := range c.adapters(env) {
		limits, err := lora.LimitsOf(a.Path, embedded(env, a.Path), p.base)
		if err != nil {
			return fmt.Errorf("--lora-paths %s=%s: %w", a.Name, a.Path, err)
		}
		found = found.Union(limits)
	}
	p.limits = lora.Limits{MaxRank: c.MaxLoRARank, Targets: targets}
	if c.MaxLoRARank == 0 {
		p.limits.MaxRank = found.MaxRank
	}
	if len(c.TargetModules) == 0 {
		p.limits.Targets = found.Targets
	}
	if p.residency, err = lora.NewResidency(p.device, p.base, c.LoRAsPerBatch); err != nil {
		return fmt.Errorf("--max-loras-per-batch %d: %w", c.LoRAsPerBatch, err)
	}
	return nil
}

func (p *parts) openModel(ctx context.Context, c *Config, env Env) error {
	o := model.Options{
		Kernels: c.Kernels, Context: c.ContextLength, MaxTokens: c.MaxTokens, MemoryFraction: c.MemFraction, Profiler: p.profiler,
	}
	o.Rows, o.Lanes = stepSize(c, p.device.Info())
	if p.residency != nil {
		o.Reserve = p.base.Bytes(p.limits) * int64(c.LoRAsPerBatch)
		o.Adapters = model.Adapters{Table: p.residency.Table(), SitesPerSlot: p.residency.SitesPerSlot(), MaxRank: p.limits.MaxRank}
	}
	bar := newBar(env.Stderr)
	o.Progress = bar.advance
	var err error
	p.model, err = model.Open(ctx, p.device, p.files.config, p.files.weights, o)
	bar.finish()
	return err
}

// stepSize is the rows and the running sequences of one step where the command line leaves them to us: a CPU gains
// little from many rows, while a GPU needs them to be busy.
func stepSize(c *Config, info compute.Info) (rows, lanes int) {
	rows, lanes = 1024, 128
	if info.Type == compute.CPU {
		rows, lanes = 128, 32
	}
	if c.ChunkedChunk > 0 {
		rows = c.ChunkedChunk
	}
	if c.MaxRunning > 0 {
		lanes = c.MaxRunning
	}
	return rows, lanes
}

// close frees what was made, last first.
func (p *parts) close() error {
	if p.model != nil {
		p.model.Close()
	}
	if p.residency != nil {
		p.residency.Close()
	}
	var err error
	if p.device != nil {
		err = p.device.Close()
	}
	if p.files != nil {
		err = errors.Join(err, p.files.close())
	}
	return err
}

// writeProfile writes the trace of everything that ran.
func (p *parts) writeProfile(path string) error {
	if p.profiler == nil {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("--profile: %w", err)
	}
	return errors.Join(p.profiler.WriteChromeTrace(f), f.Close())
}

// readAdapter reads adapters from disk, or from the demo.
func (p *parts) readAdapter(env Env) func(name, path string) (*lora.Adapter, error) {
	return func(name, path string) (*lora.Adapter, error) {
		return lora.Read(name, path, embedded(env, path), p.base, p.limits)
	}
}

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

// engineOf and tokenizerOf let the server see only what it needs.
type engineOf struct{ *engine.Engine }

func (e engineOf) Submit(ctx context.Context, requests []engine.Request) ([]server.Stream, error) {
	streams, err := e.Engine.Submit(ctx, requests)
	if err != nil {
		return nil, err
	}
	out := make([]server.Stream, len(streams))
	for i, s := range streams {
		out[i] = s
	}
	return out, nil
}

func (e engineOf) Adapters() []server.Adapter {
	var all []server.Adapter
	for _, l := range e.Engine.Adapters() {
		all = append(all, server.Adapter{Name: l.Name, Path: l.Path})
	}
	return all
}

type tokenizerOf struct{ *tokenizer.Tokenizer }

func (t tokenizerOf) NewDecoder(skipSpecial bool) server.Decoder {
	return t.Tokenizer.NewDecoder(skipSpecial)
}
