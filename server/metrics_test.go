package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/server/engine"
)

// metric is what /metrics says of a name, labels included; "" when it is not there.
func (r *rig) metric(name string) string {
	r.t.Helper()
	status, text := r.do(http.MethodGet, "/metrics", "")
	require.Equal(r.t, http.StatusOK, status)
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestMetrics(t *testing.T) {
	r := newRig(t, func(c *Config) { c.EnableMetrics, c.APIKey = true, "" })
	r.post(`{"text":"abc","sampling_params":{"max_new_tokens":3}}`)
	r.post(`{"text":["ab","c"],"sampling_params":{"max_new_tokens":2}}`)
	r.stream(`{"text":"a","stream":true,"sampling_params":{"max_new_tokens":4}}`)
	r.refused(`{"text":"a","sampling_params":{"top_p":7}}`)
	r.engine.script = func(engine.Request) []engine.Update {
		return says([]int32{'a', 'b'}, engine.Finish{Reason: engine.FinishAbort, Message: "lost", Status: 500})
	}
	r.do(http.MethodPost, "/generate", `{"text":"ab"}`)
	r.engine.script = func(engine.Request) []engine.Update {
		together := engine.Update{CachedTokens: 16, Finish: &engine.Finish{Reason: engine.FinishLength}}
		for range 5 {
			together.Tokens = append(together.Tokens, engine.Token{ID: 'a'})
		}
		return []engine.Update{together}
	}
	r.post(`{"text":"` + strings.Repeat("a", 20) + `"}`)

	const label = `{model_name="meta-llama/demo"}`
	for name, want := range map[string]string{
		"sglang:prompt_tokens_total" + label:                           "29",
		"sglang:cached_tokens_total" + label:                           "16",
		"sglang:generation_tokens_total" + label:                       "18",
		"sglang:num_requests_total" + label:                            "5",
		"sglang:num_aborted_requests_total" + label:                    "1",
		"sglang:time_to_first_token_seconds_count" + label:             "6",
		"sglang:inter_token_latency_seconds_count" + label:             "12",
		"sglang:e2e_request_latency_seconds_count" + label:             "5",
		"sglang:num_running_reqs" + label:                              "2",
		"sglang:num_queue_reqs" + label:                                "3",
		"sglang:token_usage" + label:                                   "0.25",
		"sglang:max_total_num_tokens" + label:                          "4096",
		"sglang:lora_pool_utilization" + label:                         "0.25",
		"lorikeet:host_adapter_bytes" + label:                          "700",
		"sglang:gen_throughput" + label:                                "0",
		`lorikeet:pages{holder="cached",model_name="meta-llama/demo"}`: "7",
	} {
		require.Equal(t, want, r.metric(name), name)
	}
	require.NotEmpty(t, r.metric("process_resident_memory_bytes"))
	require.NotEmpty(t, r.metric("go_gc_heap_live_bytes"))
}

func TestMetricsAreOff(t *testing.T) {
	r := newRig(t)
	status, _ := r.do(http.MethodGet, "/metrics", "")
	require.Equal(t, http.StatusNotFound, status)
}

func TestMetricsNeedNoKey(t *testing.T) {
	r := newRig(t, func(c *Config) { c.EnableMetrics, c.APIKey = true, "sesame" })
	require.Equal(t, "2", r.metric(`sglang:num_running_reqs{model_name="meta-llama/demo"}`))
}
