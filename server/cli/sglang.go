package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// aliases are SGLang's other names of flags.
var aliases = map[string]string{
	"model":          "model-path",
	"stream-output":  "incremental-streaming-output",
	"nccl-init-addr": "dist-init-addr",

	"tp": "tp-size", "tensor-parallel-size": "tp-size",
	"dp": "dp-size", "data-parallel-size": "dp-size",
	"pp": "pp-size", "pipeline-parallel-size": "pp-size",
	"ep": "ep-size", "expert-parallel-size": "ep-size",
	"decode-context-parallel-size":    "dcp-size",
	"attention-context-parallel-size": "attn-cp-size",
	"moe-data-parallel-size":          "moe-dp-size",
}

// inertFlags are flags of SGLang's that are accepted so that its command lines work, and change nothing here.
type inertFlags struct {
	why                    string
	switches, one, several string // names, by how many values follow
	only                   string // values of one that may be given; "" is any
}

// names lists all of them.
func (g inertFlags) names() []string {
	return strings.Fields(g.switches + " " + g.one + " " + g.several)
}

// inert has what tunes CUDA, PyTorch or SGLang's own scheduler, and values that mean what is done here anyway.
var inert = []inertFlags{
	{
		why: "steps are recorded Vulkan programs",
		switches: `disable-cuda-graph disable-cuda-graph-padding disable-prefill-cuda-graph disable-decode-cuda-graph
			disable-piecewise-cuda-graph enforce-piecewise-cuda-graph enable-profile-cuda-graph enable-cudagraph-gc
			debug-cuda-graph enable-torch-compile enable-torch-compile-debug-mode`,
		one: `cuda-graph-max-bs cuda-graph-max-bs-decode cuda-graph-max-bs-prefill cuda-graph-config cuda-graph-backend-decode
			cuda-graph-backend-prefill cuda-graph-tc-compiler piecewise-cuda-graph-compiler piecewise-cuda-graph-max-tokens
			torch-compile-max-bs`,
		several: "cuda-graph-bs cuda-graph-bs-decode cuda-graph-bs-prefill piecewise-cuda-graph-tokens",
	},
	{
		why: "see --kernels",
		switches: `triton-attention-reduce-in-fp32 disable-flashinfer-autotune enable-tf32-matmul enable-layerwise-nvtx-marker
			flashinfer-mla-disable-ragged enable-fused-qk-norm-rope enable-page-major-kv-layout disable-chunked-prefix-cache`,
		one: `attention-backend prefill-attention-backend decode-attention-backend lora-backend bf16-gemm-backend
			fp8-gemm-backend fp4-gemm-backend triton-attention-num-kv-splits triton-attention-split-tile-size`,
		several: "flashinfer-autotune-skip-ops",
	},
	{why: "sampling is a Vulkan kernel", one: "sampling-backend"},
	{
		why:      "requests with a grammar are refused",
		switches: "constrained-json-disable-any-whitespace disable-outlines-disk-cache",
		one:      "grammar-backend constrained-json-whitespace-pattern",
	},
	{why: "requests start by priority, then in order of arrival", one: "schedule-policy"},
	{why: "pages are taken as requests grow", one: "schedule-conservativeness"},
	{
		why: "prompts always run beside decoding requests",
		switches: `enable-mixed-chunk enable-dynamic-chunking enable-prefill-delayer enable-two-batch-overlap
			enable-single-batch-overlap enable-pdmux`,
		one: `prefill-max-requests prefill-decode-interval num-continuous-decode-steps scheduler-recv-interval
			min-free-slots-delay prefill-delayer-max-delay-passes prefill-delayer-token-usage-low-watermark
			prefill-delayer-queue-min-ratio prefill-delayer-max-delay-ms tbo-token-distribution-threshold pdmux-config-path
			sm-group-num`,
		several: "prefill-delayer-forward-passes-buckets prefill-delayer-wait-seconds-buckets",
	},
	{why: "see --chunked-prefill-size", one: "max-prefill-tokens"},
	{why: "pages have 16 tokens", one: "page-size"},
	{why: "what has been idle longest gives way", one: "radix-eviction-policy"},
	{
		why:      "a running request gives way only when memory runs out",
		switches: "disable-priority-preemption",
		one:      "priority-scheduling-preemption-threshold retraction-policy",
	},
	{why: "the kernels choose their tiles", one: "max-lora-chunk-size", only: "16 32 64 128"},
	{why: "adapters always load beside running steps", switches: "enable-lora-overlap-loading"},
	{why: "a slot is drained once 32 requests have started past one that waits for it", one: "lora-drain-wait-threshold"},
	{why: "adapters are always checked whole", switches: "lora-strict-loading no-lora-strict-loading"},
	{why: "no code is read from models", switches: "trust-remote-code"},
	{why: "there is one implementation of the model", one: "model-impl"},
	{why: "config.json is what is read", one: "model-config-parser", only: "auto hf"},
	{
		why:      "weights are read on all cores while kernels compile",
		switches: "weight-loader-disable-mmap weight-loader-prefetch-checkpoints weight-loader-drop-cache-after-load",
		one:      "weight-loader-prefetch-num-threads startup-weight-load-mode",
	},
	{why: "safetensors need none", one: "model-loader-extra-config", only: "{}"},
	{why: "config.json is read as it is; change the file", one: "json-model-override-args", only: "{}"},
	{why: "weights run in the checkpoint's type", one: "quantization", only: "none unquant"},
	{why: "weights stay on the device", one: "cpu-offload-gb", only: "0"},
	{why: "weights come from --model-path", one: "weight-cache-mode", only: "off"},
	{why: "answers say default", one: "weight-version", only: "default"},
	{why: "logits are fp32", switches: "enable-fp32-lm-head"},
	{why: "tokenizer.json is the fast tokenizer", one: "tokenizer-mode", only: "auto"},
	{why: "requests may bring input_ids anyway", switches: "skip-tokenizer-init"},
	{
		why:      "one process uses all cores",
		switches: "enable-tokenizer-batch-encode disable-tokenizer-batch-decode enable-dynamic-batch-tokenizer",
		one: `tokenizer-worker-num detokenizer-worker-num tokenizer-backend dynamic-batch-tokenizer-batch-size
			dynamic-batch-tokenizer-batch-timeout load-snapshot-publish-interval`,
		several: "numa-node",
	},
	{why: "garbage is collected by Go: see GOGC", one: "gc-warning-threshold-secs", several: "gc-threshold"},
	{why: "conversations are sampled as generation_config.json says, where requests do not", one: "sampling-defaults", only: "model"},
	{why: "models take text alone", switches: "enable-multimodal language-model-only"},
	{why: "the server warms up by itself", switches: "skip-server-warmup", one: "warmups"},
	{why: "cached tokens are always reported", switches: "enable-cache-report"},
	{why: "events come with every step", one: "stream-interval batch-notify-size"},
	{
		why:      "every request has its line in the log, without its text",
		switches: "log-requests enable-request-time-stats-logging show-time-cost",
		one:      "log-requests-level log-requests-format",
		several:  "log-requests-target uvicorn-access-log-exclude-prefixes",
	},
	{why: "see --log-level", one: "log-level-http"},
	{
		why:     "buckets of /metrics are fixed",
		several: "bucket-time-to-first-token bucket-inter-token-latency bucket-e2e-request-latency prompt-tokens-buckets generation-tokens-buckets",
	},
	{why: "a request whose logits are no numbers always fails", switches: "enable-nan-detection crash-on-nan"},
	{why: "a lost device is opened again", one: "watchdog-timeout soft-watchdog-timeout"},
	{why: "an idle server sleeps", switches: "sleep-on-idle"},
	{why: "nothing is stored", one: "file-storage-path"},
	{why: "see --device", one: "base-gpu-id", only: "0"},
	{why: "one server has one device", one: "node-rank", only: "0"},
	{
		why:  "one server has one device",
		one:  "dp-size pp-size ep-size nnodes dcp-size dwdp-size attn-cp-size moe-dp-size moe-dense-tp-size",
		only: "1",
	},
	{
		why: "one server has one device",
		switches: `enable-dp-attention enable-dp-lm-head enable-attn-tp-input-scattered enable-p2p-check disable-custom-all-reduce
			enable-nccl-nvls enable-symm-mem enable-torch-symm-mem enable-mscclpp pre-warm-nccl enable-quant-communications
			enable-flashinfer-allreduce-fusion enforce-disable-flashinfer-allreduce-fusion enable-aiter-allreduce-fusion
			enable-metrics-for-all-schedulers enable-dp-attention-local-control-broadcast enable-tp-lm-head-all-to-all
			enable-dense-mlp-attn-tp disable-attn-tp-gather enable-prefill-cp enable-cp-decode-attn-tp dcp-replicate-q-proj`,
		one: `gpu-id-step nccl-port dist-init-addr dist-timeout load-balance-method load-watch-interval pp-max-micro-batch-size
			pp-async-batch-depth dcp-comm-backend cp-strategy flashinfer-allreduce-fusion-backend`,
	},
	{why: "one server does all the work of a request", one: "disaggregation-mode", only: "null"},
	{why: "models have no experts", one: "moe-a2a-backend elastic-ep-backend", only: "none"},
	{why: "models have no experts", one: "moe-runner-backend", only: "auto"},
	{why: "nothing of the kind is written", one: "kv-canary", only: "none"},
}

// inertHelp stands in help for all of them.
const inertHelp = "Flags of SGLang's that tune CUDA, PyTorch or its scheduler are accepted, too, and named in the log as changing nothing;\n" +
	"those that would change answers are refused, with the reason."

// addInert declares them, for the command line and not for help.
func addInert(f *pflag.FlagSet) {
	for _, g := range inert {
		usage := "accepted for SGLang's sake: " + g.why
		for _, name := range strings.Fields(g.switches) {
			f.Bool(name, false, usage)
		}
		for _, name := range strings.Fields(g.one) {
			f.String(name, "", usage)
		}
		for _, name := range strings.Fields(g.several) {
			many(f, new([]string), name, usage)
		}
		for _, name := range g.names() {
			f.Lookup(name).Hidden = true
		}
	}
}

// givenInert lists the inert flags of a command line, each with the reason.
func givenInert(f *pflag.FlagSet) ([]string, error) {
	var list []string
	for _, g := range inert {
		allowed := strings.Fields(g.only)
		for _, name := range g.names() {
			if !f.Changed(name) {
				continue
			}
			if value := f.Lookup(name).Value.String(); len(allowed) > 0 && !slices.Contains(allowed, value) {
				return nil, fmt.Errorf("--%s %s is not supported (%s); leave it at %s", name, value, g.why, strings.Join(allowed, " or "))
			}
			list = append(list, "--"+name+" ("+g.why+")")
		}
	}
	return list, nil
}

// refused are SGLang's flags that would change answers, or that need what there is not. A name that ends in a dash stands
// for all that begin with it and are not accepted.
var refused = []struct{ names, why string }{
	{"speculative- enable-multi-layer-eagle decoupled-spec- spec-trace-dir",
		"there is no speculative decoding, without which answers are the same; leave it out"},
	{"reasoning-parser enable-strict-thinking strip-thinking-cache",
		"what a model thinks stays in its answer; leave it out, and part them in the client"},
	{"tool-call-parser tool-server", "calls of tools come back as text; leave it out, and parse them in the client"},
	{"hf-chat-template-name", "pass that template as a file with --chat-template"},
	{"completion-template", "/v1/completions takes prompts without a template; leave it out"},
	{"default-chat-template-kwargs", "send chat_template_kwargs with each request"},
	{"preferred-sampling-params", "send sampling parameters with each request"},
	{"stream-response-default-include-usage", "requests ask for it with stream_options"},
	{"revision", "pass the folder of that revision's snapshot as --model-path"},
	{"download-dir", "nothing is downloaded; let HF_HUB_CACHE name the folder that models lie in"},
	{"model-checksum decrypted- delete-ckpt-after-loading", "files are read as they are; check, decrypt or delete them yourself"},
	{"quantization-param-path modelopt- quantize-and-serve torchao-config rl-quant-profile",
		"weights, keys and values have the checkpoint's type; leave it out"},
	{`enable-memory-saver enable-weights-cpu-backup enable-draft-weights-cpu-backup checkpoint-engine- remote-instance-
		custom-weight-loader modelexpress-config engine-info-bootstrap-port weight-cache-`,
		"weights come from --model-path at the start and stay; leave it out"},
	{"offload-", "weights stay on the device; leave it out"},
	{"config", "write the flags of that file on the command line"},
	{"admin-api-key", "one key is for all endpoints: see --api-key"},
	{"ssl- enable-ssl-refresh enable-http2 http2- fastapi-root-path",
		"what is served is HTTP/1.1 without TLS, at the root; put a proxy in front"},
	{"grpc- smg- sidecar sidecar-args", "there is HTTP alone; leave it out"},
	{"is-embedding prefill-only-disable-kv-cache enable-mis multi-item-scoring-delimiter",
		"embeddings and scores of items are not served; leave it out"},
	{"enable-return- return-hidden-states-mode enable-custom-logit-processor", "requests for it are refused; leave it out"},
	{`enable-hierarchical-cache hicache- enable-lmcache lmcache-config-file enable-flexkv flexkv-config-file
		radix-cache-backend enable-hisparse hisparse-config hierarchical-sparse-attention-extra-config`,
		"prefixes are kept on the device alone, where --mem-fraction-static leaves room; leave it out"},
	{"enable-streaming-session enable-session-radix-cache",
		"there are no sessions, and the prefix cache serves the next turn of a conversation; leave it out"},
	{`disaggregation- num-reserved-decode-tokens optimistic-prefill-attempts encoder- language-only
		enable-adaptive-dispatch-to-encoder`,
		"one server does all the work of a request; leave it out"},
	{`kv-events-config enable-trace trace-modules otlp-traces-endpoint export-metrics-to-file export-metrics-to-file-dir
		crash-dump-folder debug-tensor-dump- msprobe-dump-config kv-canary-`,
		"nothing of the kind is written; leave it out, and see --enable-metrics and --profile"},
	{`enable-mfu-metrics collect-tokens-histogram enable-forward-pass-metrics forward-pass-metrics-
		enable-expert-distribution-metrics`,
		"there are no such metrics; leave it out, and see /metrics for those there are"},
	{"extra-metric-labels tokenizer-metrics-", "metrics have no such labels; let Prometheus add yours"},
	{"enable-deterministic-inference rl-on-policy-target",
		"answers may differ within rounding by what runs beside them; leave it out"},
	{"forward-hooks custom-sigquit-handler use-ray mlx-enable-sampling", "there is no Python here; leave it out"},
	{"gated-launch-port", "a start does not wait; start the server when it may take its memory"},
	{`mm- keep-mm-feature-on-device limit-mm-data-per-request enable-mm-global-cache enable-prefix-mm-cache
		enable-broadcast-mm-inputs-process image-processor-backend disable-fast-image-processor allowed-media-domains
		media-url-max-file-size-mb trust-mm-content-hashes enable-precise-embedding-interpolation asr-`,
		"models take text alone; leave it out"},
	{`moe- deepep- elastic-ep- enable-elastic-expert-backup max-ep-size ep- eplb- enable-eplb expert- init-expert-location
		enable-ep-moe enable-deepep-moe enable-waterfill enable-deepep-waterfill mooncake-ib-device enable-fused-
		enable-w4a4-mxfp4-megamoe fuseep-mode flashinfer-mxfp4-moe-precision disable-flashinfer-cutlass-moe-fp4-allgather
		disable-shared-experts-fusion enforce-shared-experts-fusion enable-shared-experts-attn-tp experts-shared-outer-loras
		no-experts-shared-outer-loras lora-use-virtual-experts kt- mamba- max-mamba-cache-size enable-mamba-
		enable-int8-mamba-checkpoint int8-mamba-ckpt-size linear- enable-linear- dsa- nsa- dsv4- enable-deepseek-
		enable-dsa- enable-nsa- c128-page-size swa- disable-hybrid-swa-memory hybrid-kvcache-ratio enable-unified-memory
		dllm- no-dllm-fdfo enable-scattered-sconv`,
		"models of the Llama family have nothing of the kind; leave it out"},
}

// refusal says why a flag of SGLang's is refused, if it is.
func refusal(name string) error {
	for _, r := range refused {
		for _, one := range strings.Fields(r.names) {
			if name == one || strings.HasSuffix(one, "-") && strings.HasPrefix(name, one) {
				return fmt.Errorf("--%s is not supported: %s", name, r.why)
			}
		}
	}
	return nil
}
