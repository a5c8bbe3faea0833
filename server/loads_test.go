package server

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLoads(t *testing.T) {
	r := newRig(t)
	core := map[string]any{
		"dp_rank": 0.0, "num_running_reqs": 2.0, "num_waiting_reqs": 3.0, "num_waiting_uncached_tokens": 40.0, "num_used_tokens": 1024.0,
		"num_total_tokens": 1064.0, "max_total_num_tokens": 4096.0, "max_running_requests": 32.0, "token_usage": 0.25, "gen_throughput": 0.0,
		"cache_hit_rate": 0.0, "utilization": 0.0,
	}
	sections := map[string]any{
		"memory": map[string]any{"token_capacity": 4096.0},
		"lora":   map[string]any{"slots_used": 2.0, "slots_total": 8.0, "utilization": 0.25},
		"queues": map[string]any{"waiting": 3.0, "grammar": 0.0, "paused": 0.0, "retracted": 1.0},
	}
	for query, with := range map[string][]string{
		"":                          {"memory", "lora", "queues"},
		"?include=all&format=json":  {"memory", "lora", "queues"},
		"?include=core":             {},
		"?include=core,%20queues":   {"queues"},
		"?include=lora&dp_rank=0":   {"lora"},
		"?include=spec,disagg,core": {}, // which this server does not have
	} {
		want := map[string]any{}
		for key, value := range core {
			want[key] = value
		}
		for _, section := range with {
			want[section] = sections[section]
		}
		status, v := r.call(http.MethodGet, "/v1/loads"+query, "")
		require.Equal(t, http.StatusOK, status, query)
		require.Equal(t, []any{want}, get(t, v, "loads"), query)
		require.Equal(t, "test", get(t, v, "version"))
		at, err := time.Parse(time.RFC3339, get(t, v, "timestamp").(string))
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), at, time.Minute)
	}
	_, v := r.call(http.MethodGet, "/v1/loads?dp_rank=1", "")
	require.Equal(t, []any{}, get(t, v, "loads"))
	for _, query := range []string{"?include=core,x", "?dp_rank=one", "?format=prometheus"} {
		status, _ := r.call(http.MethodGet, "/v1/loads"+query, "")
		require.Equal(t, http.StatusBadRequest, status, query)
	}

	status, v := r.call(http.MethodGet, "/get_load", "")
	require.Equal(t, http.StatusOK, status)
	require.Positive(t, get(t, v, 0, "ts_tic"))
	delete(v.([]any)[0].(map[string]any), "ts_tic")
	require.Equal(t, []any{map[string]any{
		"dp_rank": 0.0, "num_reqs": 5.0, "num_waiting_reqs": 3.0, "num_tokens": 1064.0, "num_pending_tokens": 40.0,
	}}, v)
	require.Empty(t, r.log.String(), "routers ask all the time")
}

func TestLoadsOfNoAdapters(t *testing.T) {
	r := newRig(t, func(c *Config) { c.EnableLoRA = false })
	_, v := r.call(http.MethodGet, "/v1/loads", "")
	require.NotContains(t, get(t, v, "loads", 0), "lora")
}
