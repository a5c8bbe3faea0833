package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/model"
)

// parts is what a host has on one device, in the order in which it is made.
type parts struct {
	*host
	device    *compute.Device
	profiler  *compute.Profiler // nil: no profile
	residency *lora.Residency   // nil: no adapters
	model     *model.Llama
}

// plan prints the program of a step. Speed and shape do not depend on the values of weights, so none are read.
func plan(ctx context.Context, c *Config, env Env, adapters bool) error {
	if !c.Demo() {
		c.LoadFormat = "dummy"
	}
	h, err := openHost(c, env)
	if err != nil {
		return err
	}
	p, err := h.assemble(ctx)
	if err != nil {
		return errors.Join(err, h.close())
	}
	return errors.Join(p.model.Plan(env.Stdout, c.PlanTokens, adapters), p.close(), h.close())
}

// assemble opens the device and the model on it.
func (h *host) assemble(ctx context.Context) (_ *parts, err error) {
	p := &parts{host: h}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if err := p.openDevice(h.config); err != nil {
		return nil, err
	}
	if err := p.makeRoomForAdapters(h.config); err != nil {
		return nil, err
	}
	return p, p.openModel(ctx, h.config, h.env)
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

// makeRoomForAdapters makes the table of resident adapters.
func (p *parts) makeRoomForAdapters(c *Config) (err error) {
	if !c.EnableLoRA {
		return nil
	}
	if p.residency, err = lora.NewResidency(p.device, p.base, c.LoRAsPerBatch); err != nil {
		return fmt.Errorf("--max-loras-per-batch %d: %w", c.LoRAsPerBatch, err)
	}
	if c.LoRAEviction == "fifo" {
		p.residency.EvictOldest()
	}
	return nil
}

func (p *parts) openModel(ctx context.Context, c *Config, env Env) error {
	o := model.Options{
		Kernels: c.Kernels, Context: c.ContextLength, MaxTokens: c.MaxTokens, MemoryFraction: c.MemFraction, Profiler: p.profiler,
	}
	o.Rows, o.Lanes = stepSize(c, p.device.Info())
	if most := max(o.Rows, o.Lanes); c.PlanTokens > most { // compiling kernels to find that out would take a while
		return fmt.Errorf("--tokens %d: a step has at most %d tokens on this device; see --chunked-prefill-size", c.PlanTokens, most)
	}
	if p.residency != nil {
		o.Adapters = model.Adapters{
			Table: p.residency.Table(), SitesPerSlot: p.residency.SitesPerSlot(), MaxRank: p.limits.Products(), Targets: p.limits.Targets,
			Slots: c.LoRAsPerBatch, Bytes: p.base.DeviceBytes(p.limits),
		}
	}
	bar := newBar(env.Stderr)
	o.Progress = bar.advance
	stop := reportCompiling(p.device, 2*time.Second)
	var err error
	p.model, err = model.Open(ctx, p.device, p.files.config, p.files.weights, o)
	stop()
	bar.finish()
	if err != nil || p.residency == nil {
		return err
	}
	return p.residency.Attach(p.model.AdapterMemory(), p.limits)
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

// close frees what was made.
func (p *parts) close() error {
	if p.residency != nil {
		p.residency.Close() // uploads write to the model's pages
	}
	if p.model != nil {
		p.model.Close()
	}
	var err error
	if p.device != nil {
		err = p.device.Close()
	}
	if errors.Is(err, compute.ErrCache) {
		slog.Warn("the next start has to compile its kernels again", "why", err)
		return nil
	}
	return err
}

// checkProfile refuses a --profile that could not be written at exit, after everything that it is to tell.
func (c *Config) checkProfile() error {
	if c.Profile == "" {
		return nil
	}
	if there, err := os.Stat(c.Profile); err == nil && !there.Mode().IsRegular() && !there.IsDir() {
		return nil // a pipe would wait for its reader
	}
	f, err := os.OpenFile(c.Profile, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("--profile: %w", err)
	}
	return f.Close()
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
