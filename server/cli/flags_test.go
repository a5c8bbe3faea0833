package cli

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/server"
)

// parse reads a command line as serve does.
func parse(args ...string) (Config, error) {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	v := addFlags(f)
	args, err := canonical(f, args)
	if err != nil {
		return Config{}, err
	}
	if err := f.Parse(args); err != nil {
		return Config{}, err
	}
	return v.finish(f)
}

func TestCommandLinesOfTheDocumentation(t *testing.T) {
	c, err := parse(strings.Fields(`--model-path meta-llama/Meta-Llama-3.1-8B-Instruct --enable-lora
		--lora-paths lora0=algoprog/fact-generation-llama-3.1-8b-instruct-lora lora1=Nutanix/Meta-Llama-3.1-8B-Instruct_lora_4_alpha_16
		--max-loras-per-batch 2 --lora-backend triton --disable-radix-cache`)...)
	require.NoError(t, err)
	require.True(t, c.EnableLoRA)
	require.Equal(t, []AdapterPath{
		{Name: "lora0", Path: "algoprog/fact-generation-llama-3.1-8b-instruct-lora"},
		{Name: "lora1", Path: "Nutanix/Meta-Llama-3.1-8B-Instruct_lora_4_alpha_16"},
	}, c.Adapters)
	require.Equal(t, 2, c.LoRAsPerBatch)
	require.Equal(t, []string{"--lora-backend (see --kernels)"}, c.Inert)
	require.True(t, c.NoPrefixCache)

	c, err = parse(strings.Fields(`--model-path meta-llama/Meta-Llama-3.1-8B-Instruct --enable-lora --cuda-graph-max-bs 2
		--max-loras-per-batch 2 --lora-backend triton --disable-radix-cache --max-lora-rank 256 --lora-target-modules all`)...)
	require.NoError(t, err)
	require.Equal(t, 256, c.MaxLoRARank)
	require.Equal(t, []string{"all"}, c.TargetModules)
}

func TestSGLangsFlags(t *testing.T) {
	c, err := parse(strings.Fields(`--model-path m --tokenizer-path t --chat-template j --served-model-name s --host 0.0.0.0 --port 1 --tp-size 1 --dtype auto
		--context-length 8 --mem-fraction-static 0.5 --max-running-requests 2 --max-total-tokens 9 --chunked-prefill-size -1
		--schedule-policy lpm --random-seed 4 --disable-radix-cache --disable-cuda-graph --cuda-graph-max-bs 2 --cuda-graph-max-bs-decode 2
		--attention-backend fa3 --sampling-backend pytorch --log-level warning --api-key k --enable-metrics --enable-lora
		--lora-paths a --max-loras-per-batch 4 --max-loaded-loras 4 --lora-eviction-policy lru --lora-backend csgmv --max-lora-rank 8
		--lora-target-modules q_proj embed_tokens lm_head --max-lora-chunk-size 16 --enable-lora-overlap-loading --lora-drain-wait-threshold 1
		--lora-strict-loading --trust-remote-code --skip-server-warmup --device cuda --allow-auto-truncate --load-format safetensors
		--disable-overlap-schedule --max-queued-requests 3 --decode-log-interval 10 --enable-priority-scheduling --default-priority-value -2
		--schedule-low-priority-values-first --abort-on-priority-when-disabled --disable-priority-preemption
		--priority-scheduling-preemption-threshold 3 --disable-cuda-graph-padding --cuda-graph-bs 1 2 4 --enable-torch-compile
		--grammar-backend xgrammar --schedule-conservativeness 0.3 --enable-mixed-chunk --max-prefill-tokens 16384 --page-size 1
		--kv-cache-dtype auto --enable-cache-report --stream-interval 2 --log-requests --log-level-http error --watchdog-timeout 300
		--sleep-on-idle --stream-output --data-parallel-size 1 --pp-size 1 --nnodes 1 --base-gpu-id 0`)...)
	require.NoError(t, err)
	require.Contains(t, c.Inert, "--device cuda (devices are Vulkan's: see doctor)")
	require.Contains(t, c.Inert, "--dp-size (one server has one device)")
	require.Contains(t, c.Inert, "--cuda-graph-bs (steps are recorded Vulkan programs)")
	require.Empty(t, c.Device)
	require.Equal(t, 3, c.MaxQueued)
	require.True(t, c.StreamsNews)
	news, err := parse("--incremental-streaming-output")
	require.NoError(t, err)
	require.True(t, news.StreamsNews, "by the newer name")
	two := -2
	require.Equal(t, server.Priorities{Enabled: true, LowFirst: true, Default: &two, Refuse: true}, c.Priorities)
	require.Equal(t, uint64(4), c.RandomSeed)
	require.NotContains(t, c.Arguments, "api_key")
	require.Equal(t, 4.0, c.Arguments["max_loras_per_batch"])
	require.Equal(t, []string{"q_proj", "embed_tokens", "lm_head"}, c.Arguments["lora_target_modules"])
	require.Equal(t, true, c.Arguments["trust_remote_code"])
}

func TestDefaults(t *testing.T) {
	c, err := parse()
	require.NoError(t, err)
	require.True(t, c.Demo())
	require.True(t, c.EnableLoRA, "the demo comes with adapters")
	require.Equal(t, "127.0.0.1", c.Host)
	require.Equal(t, 30000, c.Port)
	require.Empty(t, c.Inert)
	c, err = parse("--model-path", "m")
	require.NoError(t, err)
	require.False(t, c.EnableLoRA)
	c, err = parse("--model-path", "m", "--max-lora-rank", "8")
	require.NoError(t, err)
	require.Equal(t, []string{"--max-lora-rank (adapters are off: see --enable-lora)"}, c.Inert)
	c, err = parse("--model-path", "m", "--lora-paths", "a=b")
	require.NoError(t, err)
	require.True(t, c.EnableLoRA)
}

func TestAdapterPaths(t *testing.T) {
	for text, want := range map[string]AdapterPath{
		"a=b/c=d":      {Name: "a", Path: "b/c=d"},
		"org/name":     {Name: "org/name", Path: "org/name"},
		" embedded:a ": {Name: "embedded:a", Path: "embedded:a"},
		`{"lora_name":"a","lora_path":"b","pinned":true}`: {Name: "a", Path: "b", Pinned: true},
	} {
		got, err := parseAdapterPath(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "=b", "a=", "{", `{"lora_name":"a"}`} {
		_, err := parseAdapterPath(text)
		require.ErrorContains(t, err, "--lora-paths")
	}
}

func TestRules(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"--tp-size 2", "--tp-size 2: spreading a model over several devices is not supported yet; leave it at 1"},
		{"--tensor-parallel-size 2", "--tp-size 2: spreading a model over several devices is not supported yet; leave it at 1"},
		{"--quantization fp8", "--quantization fp8 is not supported (weights run in the checkpoint's type); leave it at none or unquant"},
		{"--tp-size 0", "--tp-size must be at least 1, not 0"},
		{"--dp-size 2", "--dp-size 2 is not supported (one server has one device); leave it at 1"},
		{"--kv-cache-dtype fp8_e5m2", `--kv-cache-dtype must be one of auto, bf16, bfloat16, not "fp8_e5m2"`},
		{"--port 70000", "--port must be at most 65535, not 70000"},
		{"--port -1", "--port must be at least 0, not -1"},
		{"--dtype int4", `--dtype must be one of auto, half, float16, bfloat16, float, float32, not "int4"`},
		{"--kernels fast", `--kernels must be one of auto, fma, coop, not "fast"`},
		{"--load-format gguf", `--load-format must be one of auto, safetensors, dummy, not "gguf"`},
		{"--load-format dummy", "--load-format dummy needs the config of --model-path"},
		{"--log-level loud", `--log-level must be one of debug, info, warning, error, critical, not "loud"`},
		{"--mem-fraction-static 0", "--mem-fraction-static must be in (0, 1], not 0"},
		{"--mem-fraction-static NaN", "--mem-fraction-static must be in (0, 1], not NaN"},
		{"--served-model-name a:b", `--served-model-name "a:b" must not contain ':', which separates a model from an adapter`},
		{"--max-lora-chunk-size 17", "--max-lora-chunk-size 17 is not supported (the kernels choose their tiles); leave it at 16 or 32 or 64 or 128"},
		{"--model-path m --enable-lora", "--enable-lora without --lora-paths needs both --max-lora-rank and --lora-target-modules"},
		{"--model-path m --enable-lora --max-lora-rank 8", "--enable-lora without --lora-paths needs both --max-lora-rank and --lora-target-modules"},
		{"--enable-lora=false --lora-paths a", "--lora-paths needs adapters, which --enable-lora=false turns off"},
		{"--lora-paths a=b a=c", `--lora-paths names two adapters "a"`},
		{"--model-path m --lora-paths m=a", `--lora-paths names an adapter "m", under which the base model is served`},
		{"--lora-paths lorikeet-demo=a", `--lora-paths names an adapter "lorikeet-demo", under which the base model is served`},
		{"--model-path m --served-model-name s --lora-paths s=a", `--lora-paths names an adapter "s", under which the base model is served`},
		{"--lora-target-modules all q_proj", "--lora-target-modules: 'all' must be the only value"},
		{"--max-lora-rank 9223372036854775807", "--max-lora-rank must be at most 1048576, not 9223372036854775807"},
		{"--max-loras-per-batch 1000000000", "--max-loras-per-batch must be at most 65536, not 1000000000"},
		{"--shutdown-timeout 1e300", "--shutdown-delay and --shutdown-timeout must be seconds up to 1e+09, not 0 and 1e+300"},
		{"--shutdown-delay -1", "--shutdown-delay and --shutdown-timeout must be seconds up to 1e+09, not -1 and 25"},
		{"--model-path=", "--model-path is given, but empty; leave it out for the default"},
		{"--api-key=", "--api-key is given, but empty; leave it out for the default"},
		{"--host=", "--host is given, but empty; leave it out for the default"},
		{`--lora-paths {"lora_name":"a","lora_path":"b","pined":true}`, `--lora-paths: {"lora_name":"a","lora_path":"b","pined":true} is no JSON object of lora_name, lora_path and pinned: json: unknown field "pined"`},
		{`--lora-paths {"lora_name":"a","lora_path":"b"}x`, `--lora-paths: {"lora_name":"a","lora_path":"b"}x is no JSON object of lora_name, lora_path and pinned: something follows the object`},
		{"--max-loras-per-batch 0", "--max-loras-per-batch must be at least 1, not 0"},
		{"--max-loaded-loras 7", "--max-loaded-loras (7) must be at least --max-loras-per-batch (8)"},
		{"--max-loras-per-batch 1 --max-loaded-loras 1 --lora-paths a b", "--max-loaded-loras (1) must be at least the 2 adapters of --lora-paths"},
	} {
		_, err := parse(strings.Fields(c.line)...)
		require.EqualError(t, err, c.want, c.line)
	}
	_, err := parse("--lora-target-modules", "qkvr")
	require.ErrorContains(t, err, `"qkvr"`)
	_, err = parse("--port", "http")
	require.ErrorContains(t, err, "--port")
}

func TestDeviceRules(t *testing.T) {
	cpu := compute.Info{Name: "slow", Type: compute.CPU}
	gpu := compute.Info{Name: "fast", Type: compute.Discrete}
	for _, c := range []struct {
		line string
		info compute.Info
		want string
	}{
		{"", cpu, ""},
		{"--model-path m", gpu, ""},
		{"--model-path m --allow-cpu", cpu, ""},
		{"--model-path m --device cpu", cpu, ""},
		{"--model-path m --device llvmpipe", cpu, ""},
		{"--model-path m --device 0", cpu, "the device is a CPU (slow), which is slow; choose a GPU with --device (see lorikeet doctor) or add --allow-cpu"},
		{"--model-path m --device cuda", cpu, "the device is a CPU (slow), which is slow; choose a GPU with --device (see lorikeet doctor) or add --allow-cpu"},
		{"--model-path m", cpu, "the device is a CPU (slow), which is slow; choose a GPU with --device (see lorikeet doctor) or add --allow-cpu"},
		{"--kernels fma", gpu, ""},
		{"--kernels coop", gpu, "--kernels coop does not run on fast: the driver has no VK_KHR_cooperative_matrix"},
	} {
		config, err := parse(strings.Fields(c.line)...)
		require.NoError(t, err)
		if err := config.checkDevice(c.info); c.want == "" {
			require.NoError(t, err)
		} else {
			require.EqualError(t, err, c.want)
		}
	}
}

func TestDeviceCPU(t *testing.T) {
	config, err := parse("--device", "cpu")
	require.NoError(t, err)
	devices := func(types ...compute.DeviceType) func() ([]compute.Info, error) {
		return func() (infos []compute.Info, _ error) {
			for i, t := range types {
				infos = append(infos, compute.Info{Index: i, Type: t})
			}
			return infos, nil
		}
	}
	name, err := config.chooseDevice(devices(compute.Discrete, compute.CPU))
	require.NoError(t, err)
	require.Equal(t, "1", name)
	_, err = config.chooseDevice(devices(compute.Discrete))
	require.ErrorContains(t, err, "install mesa-vulkan-drivers")
}

func TestTypeRule(t *testing.T) {
	for line, ok := range map[string]bool{
		"--dtype auto": true, "--dtype bfloat16": true, "--dtype half": false, "--dtype float32": false,
		"--kv-cache-dtype auto": true, "--kv-cache-dtype bf16": true,
	} {
		config, err := parse(strings.Fields(line)...)
		require.NoError(t, err)
		require.Equal(t, ok, config.checkType("BF16") == nil, line)
	}
	config, err := parse("--kv-cache-dtype", "bfloat16")
	require.NoError(t, err)
	require.EqualError(t, config.checkType("F16"), "--kv-cache-dtype bfloat16: the checkpoint is F16 and runs in its own type; leave --kv-cache-dtype at auto")
}

func TestProfileMayBeAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	require.NoError(t, (&Config{Profile: path}).checkProfile(), "without waiting for its reader")
}
