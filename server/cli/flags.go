package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"lorikeet/server"
)

// Config is the command line of serve and plan. The names and defaults are SGLang's, but for the flags under "ours".
type Config struct {
	ModelPath     string // "": the embedded demo
	TokenizerPath string // "": ModelPath
	ChatTemplate  string // a file; "": the tokenizer's
	ServedName    string
	StreamsNews   bool
	Metrics       bool
	LogInterval   int
	Priorities    server.Priorities
	Host          string
	Port          int
	TPSize        int
	DType         string
	KVType        string
	ContextLength int     // 0: the model's
	MemFraction   float64 // share of the free device memory to use
	MaxRunning    int     // 0: chosen for the device
	MaxQueued     int     // requests that may wait
	MaxTokens     int     // tokens of the KV pool; 0: as many as memory allows
	ChunkedChunk  int     // prompt tokens of one step; 0 or -1: chosen for the device
	RandomSeed    uint64
	LogLevel      string
	APIKey        string
	AutoTruncate  bool
	NoOverlap     bool
	NoPrefixCache bool
	LoadFormat    string

	EnableLoRA     bool
	Adapters       []AdapterPath
	LoRAsPerBatch  int
	MaxLoadedLoRAs int    // 0: no limit
	LoRAEviction   string // "lru" or "fifo"
	MaxLoRARank    int    // 0: that of the adapters given at start
	TargetModules  []string

	// Ours.
	ShutdownDelay   float64 // seconds that new work is still taken after the process was told to stop
	ShutdownTimeout float64 // seconds that running requests may then take

	Device   string // index or part of a name; "": the best
	Kernels  string
	AllowCPU bool
	Profile  string // file for a Chrome trace; "": no profile

	PlanTokens int // of plan's step; 0: serve

	Inert     []string       // the given flags that change nothing here, each with the reason
	Arguments map[string]any // every flag by SGLang's name, but for secrets
}

// AdapterPath is an adapter to load at start.
type AdapterPath struct {
	Name   string `json:"lora_name"`
	Path   string `json:"lora_path"`
	Pinned bool   `json:"pinned"`
}

const (
	defaultPort = 30000
	// defaultMemFraction leaves room for what drivers and other processes take without saying so.
	defaultMemFraction = 0.88
	// defaultMaxQueued bounds the memory of prompts that wait, where SGLang has no limit.
	defaultMaxQueued   = 16384
	defaultLogInterval = 40
	// defaultShutdownTimeout is what Kubernetes gives a pod, less a moment for the process to end.
	defaultShutdownTimeout = 25
)

// flagValues is where flags are parsed to before they become a Config.
type flagValues struct {
	config   Config
	enable   bool
	priority int // of requests that bring none, if the flag was given
	paths    []string
}

// addFlags declares every flag of serve and plan.
func addFlags(f *pflag.FlagSet) *flagValues {
	v := new(flagValues)
	c := &v.config
	f.StringVar(&c.ModelPath, "model-path", "", "folder or Hugging Face name of the model (default: the embedded demo)")
	f.StringVar(&c.TokenizerPath, "tokenizer-path", "", "folder or Hugging Face name of the tokenizer (default: the model's)")
	f.StringVar(&c.ChatTemplate, "chat-template", "", "file with the Jinja template of conversations (default: the tokenizer's)")
	f.StringVar(&c.ServedName, "served-model-name", "", "name in /v1/models (default: --model-path)")
	f.StringVar(&c.Host, "host", "127.0.0.1", "address to listen on")
	f.IntVar(&c.Port, "port", defaultPort, "port to listen on; 0 takes a free one")
	f.IntVar(&c.TPSize, "tp-size", 1, "devices to spread the model over; only 1 works yet")
	f.StringVar(&c.DType, "dtype", "auto", "type of weights: auto (the checkpoint's), or the same by name")
	f.StringVar(&c.KVType, "kv-cache-dtype", "auto", "type of keys and values: auto (the checkpoint's), or the same by name")
	f.IntVar(&c.ContextLength, "context-length", 0, "tokens of prompt and completion together (default: the model's)")
	f.Float64Var(&c.MemFraction, "mem-fraction-static", defaultMemFraction, "share of the free device memory to use")
	f.IntVar(&c.MaxRunning, "max-running-requests", 0, "requests that run at once (default: by device)")
	f.IntVar(&c.MaxQueued, "max-queued-requests", defaultMaxQueued, "requests that may wait to run; more are answered 503")
	f.IntVar(&c.MaxTokens, "max-total-tokens", 0, "tokens that the KV pool has room for beside all adapters; it takes more while there are fewer (default: as many as memory allows)")
	f.IntVar(&c.ChunkedChunk, "chunked-prefill-size", 0, "prompt tokens of one step (default: by device)")
	f.Uint64Var(&c.RandomSeed, "random-seed", 0, "seed of requests that bring none (default: random)")
	f.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warning or error")
	f.BoolVar(&c.Priorities.Enabled, "enable-priority-scheduling", false, "start requests with a higher priority first")
	f.BoolVar(&c.Priorities.LowFirst, "schedule-low-priority-values-first", false, "a lower number is a higher priority")
	f.IntVar(&v.priority, "default-priority-value", 0, "priority of requests that bring none (default: behind all others)")
	f.BoolVar(&c.Priorities.Refuse, "abort-on-priority-when-disabled", false, "refuse requests with a priority while it means nothing, instead of ignoring it")
	f.IntVar(&c.LogInterval, "decode-log-interval", defaultLogInterval, "decode steps between two log lines about them, which come at most every second")
	f.BoolVar(&c.Metrics, "enable-metrics", false, "serve /metrics for Prometheus")
	f.BoolVar(&c.StreamsNews, "incremental-streaming-output", false, "events of /generate's streams have what is new of the output, not all of it so far (--stream-output is an older name)")
	f.StringVar(&c.APIKey, "api-key", "", "key that clients must send as a bearer token")
	f.BoolVar(&c.AutoTruncate, "allow-auto-truncate", false, "cut what is too long instead of refusing it")
	f.BoolVar(&c.NoOverlap, "disable-overlap-schedule", false, "deliver each step before launching the next")
	f.BoolVar(&c.NoPrefixCache, "disable-radix-cache", false, "compute every prompt whole, whatever was computed before")
	f.StringVar(&c.LoadFormat, "load-format", "auto", "auto, safetensors, or dummy (random weights of the config's shapes)")
	f.BoolVar(&v.enable, "enable-lora", false, "serve LoRA adapters (implied by --lora-paths, and where the demo is served)")
	many(f, &v.paths, "lora-paths", `adapters to load at start: NAME=PATH, PATH, or {"lora_name":..,"lora_path":..,"pinned":..}`)
	f.IntVar(&c.LoRAsPerBatch, "max-loras-per-batch", 8, "adapters that one step may use")
	f.IntVar(&c.MaxLoadedLoRAs, "max-loaded-loras", 0, "most adapters in host memory; others are read again when they are asked for (default: no limit)")
	f.StringVar(&c.LoRAEviction, "lora-eviction-policy", "lru", "which adapter gives way: lru, the one used longest ago, or fifo, the one loaded first")
	f.IntVar(&c.MaxLoRARank, "max-lora-rank", 0, "largest rank to serve (default: that of --lora-paths)")
	many(f, &c.TargetModules, "lora-target-modules", "modules that adapters may change, or all (default: those of --lora-paths)")
	f.StringVar(&c.Device, "device", "", "Vulkan device by index or part of its name, or cpu (default: the best; see doctor)")
	f.StringVar(&c.Kernels, "kernels", "auto", "kernel variant: fma, coop or auto")
	f.BoolVar(&c.AllowCPU, "allow-cpu", false, "serve a model on a CPU device, which is slow, without naming one with --device")
	f.StringVar(&c.Profile, "profile", "", "write a Chrome trace of every stage to this file at exit; after a lost device FILE.2 and so on")
	f.Float64Var(&c.ShutdownDelay, "shutdown-delay", 0, "seconds that new work is still taken after SIGTERM, while /health says 503")
	f.Float64Var(&c.ShutdownTimeout, "shutdown-timeout", defaultShutdownTimeout, "seconds that running requests may take to end after that")
	addInert(f)
	f.SortFlags = false
	return v
}

// many declares a flag that takes several values.
func many(f *pflag.FlagSet, values *[]string, name, usage string) {
	f.StringArrayVar(values, name, nil, usage)
	f.Lookup(name).Annotations = map[string][]string{manyValues: {"true"}}
}

// finish makes a Config of parsed flags and applies the start-up rules.
func (v *flagValues) finish(f *pflag.FlagSet) (Config, error) {
	c := v.config
	for _, text := range v.paths {
		a, err := parseAdapterPath(text)
		if err != nil {
			return c, err
		}
		c.Adapters = append(c.Adapters, a)
	}
	c.EnableLoRA = v.enable || !f.Changed("enable-lora") && (len(c.Adapters) > 0 || c.Demo())
	if f.Changed("default-priority-value") {
		c.Priorities.Default = &v.priority
	}
	var err error
	if c.Inert, err = givenInert(f); err != nil {
		return c, err
	}
	// SGLang's --device names a kind of hardware; every kind but cpu means the accelerator there is.
	if slices.Contains([]string{"auto", "cuda", "xpu", "hpu", "npu", "musa"}, c.Device) {
		c.Inert = append(c.Inert, "--device "+c.Device+" (devices are Vulkan's: see doctor)")
		c.Device = ""
	}
	c.Arguments = arguments(f)
	c.Arguments["enable_lora"] = c.EnableLoRA
	err = c.check(f)
	return c, err
}

// parseAdapterPath reads NAME=PATH, a PATH that is its own name, or JSON.
func parseAdapterPath(text string) (AdapterPath, error) {
	var a AdapterPath
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "{") {
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		err := d.Decode(&a)
		if err == nil && d.More() {
			err = errors.New("something follows the object")
		}
		if err != nil {
			return a, fmt.Errorf("--lora-paths: %s is no JSON object of lora_name, lora_path and pinned: %w", text, err)
		}
		if a.Name == "" || a.Path == "" {
			return a, fmt.Errorf("--lora-paths: %s must contain keys 'lora_name' and 'lora_path'", text)
		}
		return a, nil
	}
	name, path, named := strings.Cut(text, "=")
	if !named {
		path = name
	}
	if name == "" || path == "" {
		return a, fmt.Errorf("--lora-paths: %q must be NAME=PATH, PATH or JSON", text)
	}
	return AdapterPath{Name: name, Path: path}, nil
}

// arguments lists every flag with SGLang's spelling, as /server_info reports them.
func arguments(f *pflag.FlagSet) map[string]any {
	all := map[string]any{}
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Name == "api-key" || flag.Name == "help" {
			return
		}
		all[strings.ReplaceAll(flag.Name, "-", "_")] = argument(flag)
	})
	return all
}

// argument is a flag's value with its own type; a flag that was left out and has no default is null.
func argument(flag *pflag.Flag) any {
	text := flag.Value.String()
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	switch flag.Value.Type() {
	case "bool":
		return text == "true"
	case "int", "uint64", "float64":
		if !flag.Changed && flag.Value.Type() == "int" && text == "0" { // for "no limit", or whatever the server finds
			return nil
		}
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return n
		}
	}
	if text == "" {
		return nil
	}
	return text
}
