package cli

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"lorikeet/compute"
	"lorikeet/lora"
)

// Demo says whether the embedded demo is served.
func (c *Config) Demo() bool { return c.ModelPath == "" }

// mostSeconds is the longest that a stop may take: 31 years.
const mostSeconds = 1e9

// check applies the rules that need no device and no files.
func (c *Config) check(f *pflag.FlagSet) error {
	for _, choice := range []struct {
		flag, value string
		allowed     []string
	}{
		{"dtype", c.DType, []string{"auto", "half", "float16", "bfloat16", "float", "float32"}},
		{"kv-cache-dtype", c.KVType, []string{"auto", "bf16", "bfloat16"}},
		{"load-format", c.LoadFormat, []string{"auto", "safetensors", "dummy"}},
		{"kernels", c.Kernels, []string{"auto", "fma", "coop"}},
		{"lora-eviction-policy", c.LoRAEviction, []string{"lru", "fifo"}},
		{"log-level", strings.ToLower(c.LogLevel), []string{"debug", "info", "warning", "error", "critical"}},
	} {
		if !slices.Contains(choice.allowed, choice.value) {
			return fmt.Errorf("--%s must be one of %s, not %q", choice.flag, strings.Join(choice.allowed, ", "), choice.value)
		}
	}
	// What is above these would not fit any device, and some of it takes the host minutes, or its memory, to find that out.
	const many, most = 1 << 20, math.MaxInt32
	for _, bound := range []struct {
		flag            string
		value, from, to int
	}{
		{"port", c.Port, 0, 65535}, {"tp-size", c.TPSize, 1, most}, {"context-length", c.ContextLength, 0, most},
		{"max-running-requests", c.MaxRunning, 0, many}, {"max-total-tokens", c.MaxTokens, 0, math.MaxInt}, {"max-queued-requests", c.MaxQueued, 1, math.MaxInt},
		{"decode-log-interval", c.LogInterval, 1, math.MaxInt}, {"chunked-prefill-size", c.ChunkedChunk, -1, most},
		{"max-loras-per-batch", c.LoRAsPerBatch, 1, 1 << 16}, {"max-loaded-loras", c.MaxLoadedLoRAs, 0, math.MaxInt}, {"max-lora-rank", c.MaxLoRARank, 0, many},
	} {
		if bound.value < bound.from {
			return fmt.Errorf("--%s must be at least %d, not %d", bound.flag, bound.from, bound.value)
		}
		if bound.value > bound.to {
			return fmt.Errorf("--%s must be at most %d, not %d", bound.flag, bound.to, bound.value)
		}
	}
	for _, flag := range []string{"model-path", "api-key", "host"} { // as from a variable of a shell that is not set
		if f.Changed(flag) && f.Lookup(flag).Value.String() == "" {
			return fmt.Errorf("--%s is given, but empty; leave it out for the default", flag)
		}
	}
	switch {
	case !(c.ShutdownDelay >= 0 && c.ShutdownDelay <= mostSeconds && c.ShutdownTimeout >= 0 && c.ShutdownTimeout <= mostSeconds):
		return fmt.Errorf("--shutdown-delay and --shutdown-timeout must be seconds up to %.0e, not %v and %v", mostSeconds, c.ShutdownDelay, c.ShutdownTimeout)
	case c.TPSize > 1:
		return fmt.Errorf("--tp-size %d: spreading a model over several devices is not supported yet; leave it at 1", c.TPSize)
	case !(c.MemFraction > 0 && c.MemFraction <= 1):
		return fmt.Errorf("--mem-fraction-static must be in (0, 1], not %v", c.MemFraction)
	case strings.Contains(c.ServedName, ":"):
		return fmt.Errorf("--served-model-name %q must not contain ':', which separates a model from an adapter", c.ServedName)
	case c.Demo() && c.LoadFormat == "dummy":
		return errors.New("--load-format dummy needs the config of --model-path")
	}
	return c.checkLoRA(f)
}

func (c *Config) checkLoRA(f *pflag.FlagSet) error {
	if !c.EnableLoRA {
		if len(c.Adapters) > 0 {
			return errors.New("--lora-paths needs adapters, which --enable-lora=false turns off")
		}
		for _, flag := range []string{"max-loras-per-batch", "max-loaded-loras", "lora-eviction-policy", "max-lora-rank", "lora-target-modules"} {
			if f.Changed(flag) {
				c.Inert = append(c.Inert, "--"+flag+" (adapters are off: see --enable-lora)")
			}
		}
		return nil
	}
	if slices.Contains(c.TargetModules, "all") && len(c.TargetModules) > 1 {
		return errors.New("--lora-target-modules: 'all' must be the only value")
	}
	if _, err := lora.ParseTargets(c.TargetModules); err != nil {
		return fmt.Errorf("--lora-target-modules: %w", err)
	}
	if len(c.Adapters) == 0 && !c.Demo() && (c.MaxLoRARank == 0 || len(c.TargetModules) == 0) {
		return errors.New("--enable-lora without --lora-paths needs both --max-lora-rank and --lora-target-modules")
	}
	seen := map[string]bool{}
	for _, a := range c.Adapters {
		if seen[a.Name] {
			return fmt.Errorf("--lora-paths names two adapters %q", a.Name)
		}
		seen[a.Name] = true
		if base := cmp.Or(c.ServedName, c.ModelPath, demoName); a.Name == base {
			return fmt.Errorf("--lora-paths names an adapter %q, under which the base model is served", a.Name)
		}
	}
	if !f.Changed("max-loaded-loras") {
		return nil
	}
	if c.MaxLoadedLoRAs < c.LoRAsPerBatch {
		return fmt.Errorf("--max-loaded-loras (%d) must be at least --max-loras-per-batch (%d)", c.MaxLoadedLoRAs, c.LoRAsPerBatch)
	}
	if c.MaxLoadedLoRAs < len(c.Adapters) {
		return fmt.Errorf("--max-loaded-loras (%d) must be at least the %d adapters of --lora-paths", c.MaxLoadedLoRAs, len(c.Adapters))
	}
	return nil
}

// checkType refuses types that are not the checkpoint's, in which weights, keys and values are. The type is as in
// safetensors: "F32", "F16" or "BF16".
func (c *Config) checkType(checkpoint string) error {
	names := map[string]string{"half": "F16", "float16": "F16", "bf16": "BF16", "bfloat16": "BF16", "float": "F32", "float32": "F32"}
	for _, choice := range []struct{ flag, value string }{{"dtype", c.DType}, {"kv-cache-dtype", c.KVType}} {
		if want, named := names[choice.value]; named && want != checkpoint {
			return fmt.Errorf("--%s %s: the checkpoint is %s and runs in its own type; leave --%[1]s at auto", choice.flag, choice.value, checkpoint)
		}
	}
	return nil
}

// checkDevice refuses a CPU device that was not asked for, and kernels that do not run on the device. A name asks for what it
// names; an index may have been that of a GPU whose driver is gone.
func (c *Config) checkDevice(info compute.Info) error {
	_, notIndex := strconv.Atoi(c.Device)
	named := c.Device != "" && notIndex != nil
	if info.Type == compute.CPU && !c.Demo() && !c.AllowCPU && !named {
		return fmt.Errorf("the device is a CPU (%s), which is slow; choose a GPU with --device (see lorikeet doctor) or add --allow-cpu", info.Name)
	}
	if c.Kernels == "auto" {
		return nil
	}
	for _, v := range info.Variants() {
		if v.Name == c.Kernels && !v.OK {
			return fmt.Errorf("--kernels %s does not run on %s: %s", c.Kernels, info.Name, v.Why)
		}
	}
	return nil
}

// chooseDevice turns --device cpu into the index of a CPU device; anything else is for compute to find.
func (c *Config) chooseDevice(devices func() ([]compute.Info, error)) (string, error) {
	if c.Device != "cpu" {
		return c.Device, nil
	}
	infos, err := devices()
	if err != nil {
		return "", err
	}
	for _, info := range infos {
		if info.Type == compute.CPU {
			return fmt.Sprint(info.Index), nil
		}
	}
	return "", errors.New("--device cpu: there is no Vulkan driver for the CPU; install mesa-vulkan-drivers")
}

// level is the log level.
func (c *Config) level() slog.Level {
	return map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warning": slog.LevelWarn, "error": slog.LevelError, "critical": slog.LevelError,
	}[strings.ToLower(c.LogLevel)]
}
