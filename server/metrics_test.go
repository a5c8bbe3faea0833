package server

import (
	"net/http"
	"strings"
	"testing"
	"time"

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
		together := engine.Update{CachedTokens: 16, Waited: 2 * time.Second, Finish: &engine.Finish{Reason: engine.FinishLength}}
		for range 5 {
			together.Tokens = append(together.Tokens, engine.Token{ID: 'a'})
		}
		return []engine.Update{together}
	}
	r.post(`{"text":"` + strings.Repeat("a", 20) + `"}`)
	r.engine.script = nil
	r.post(`{"text":"abc","sampling_params":{"max_new_tokens":0}}`)
	r.do(http.MethodGet, "/nowhere", "")

	const label, ranked = `{model_name="meta-llama/demo"}`, `{engine_type="unified",model_name="meta-llama/demo",pp_rank="0",tp_rank="0"}`
	for name, want := range map[string]string{
		"sglang:prompt_tokens_total" + label:                  "32",
		"sglang:cached_tokens_total" + label:                  "16",
		"sglang:generation_tokens_total" + label:              "18",
		"sglang:num_requests_total" + label:                   "6",
		"sglang:num_aborted_requests_total" + label:           "1",
		"sglang:time_to_first_token_seconds_count" + label:    "6",
		"sglang:inter_token_latency_seconds_count" + label:    "12",
		"sglang:e2e_request_latency_seconds_count" + label:    "6",
		"sglang:num_running_reqs" + ranked:                    "2",
		"sglang:num_queue_reqs" + ranked:                      "3",
		"sglang:token_usage" + ranked:                         "0.25",
		"sglang:max_total_num_tokens" + ranked:                "4096",
		"sglang:lora_pool_utilization" + ranked:               "0.25",
		"lorikeet:host_adapter_bytes" + ranked:                "700",
		"sglang:gen_throughput" + ranked:                      "0",
		"sglang:kv_available_tokens" + ranked:                 "2960",
		"sglang:kv_evictable_tokens" + ranked:                 "112",
		"sglang:kv_used_tokens" + ranked:                      "1024",
		"sglang:num_retracted_reqs" + ranked:                  "1",
		"sglang:page_size" + ranked:                           "16",
		"sglang:num_pages" + ranked:                           "256",
		"sglang:context_len" + ranked:                         "200",
		"sglang:queue_time_seconds_count" + ranked:            "1",
		"sglang:queue_time_seconds_sum" + ranked:              "2",
		"sglang:prompt_tokens_histogram_sum" + label:          "30",
		"sglang:uncached_prompt_tokens_histogram_sum" + label: "14",
		"sglang:generation_tokens_histogram_sum" + label:      "16",
		`lorikeet:pages{engine_type="unified",holder="cached",model_name="meta-llama/demo",pp_rank="0",tp_rank="0"}`:                          "7",
		`sglang:realtime_tokens_total{engine_type="unified",mode="prefill_compute",model_name="meta-llama/demo",pp_rank="0",tp_rank="0"}`:     "74",
		`sglang:cache_config_info{engine_type="unified",model_name="meta-llama/demo",num_pages="256",page_size="16",pp_rank="0",tp_rank="0"}`: "1",
		`sglang:http_requests_total{endpoint="/generate",method="POST"}`:                                                                      "7",
		`sglang:http_responses_total{endpoint="/generate",method="POST",status_code="400"}`:                                                   "1",
		`sglang:http_requests_active{endpoint="/metrics",method="GET"}`:                                                                       "1",
	} {
		require.Equal(t, want, r.metric(name), name)
	}
	require.NotEmpty(t, r.metric("process_resident_memory_bytes"))
	require.NotEmpty(t, r.metric("go_gc_heap_live_bytes"))
}

func TestMetricsOfNoAdapters(t *testing.T) {
	r := newRig(t, func(c *Config) { c.EnableMetrics, c.EnableLoRA = true, false })
	_, text := r.do(http.MethodGet, "/metrics", "")
	require.NotContains(t, text, "sglang:lora_pool")
}

func TestMetricsAreOff(t *testing.T) {
	r := newRig(t)
	status, _ := r.do(http.MethodGet, "/metrics", "")
	require.Equal(t, http.StatusNotFound, status)
}

func TestMetricsNeedNoKey(t *testing.T) {
	r := newRig(t, func(c *Config) { c.EnableMetrics, c.APIKey = true, "sesame" })
	require.NotEmpty(t, r.metric("go_gc_heap_live_bytes"))
}
