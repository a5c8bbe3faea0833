package server

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"lorikeet/server/engine"
)

// gauges reads the engine's state when Prometheus asks; nothing is counted twice.
type gauges struct {
	engine Engine
	pulse  *pulse
	rows   []gauge
	cache  *prometheus.Desc
}

// gauge is one number of the state.
type gauge struct {
	description *prometheus.Desc
	kind        prometheus.ValueType
	labels      []string
	value       func(*state) float64
}

// state is what the gauges of one scrape are read from.
type state struct {
	engine.Stats
	pace pace
}

func newGauges(e Engine, p *pulse, config *Config) *gauges {
	g := &gauges{engine: e, pulse: p, cache: prometheus.NewDesc(
		"sglang:cache_config_info", "Tokens of a page of the pool, and pages.", []string{"page_size", "num_pages"}, nil,
	)}
	number := func(kind prometheus.ValueType, name, help string, value func(*state) float64) {
		g.rows = append(g.rows, gauge{prometheus.NewDesc(name, help, nil, nil), kind, nil, value})
	}
	const now, total = prometheus.GaugeValue, prometheus.CounterValue
	number(now, "sglang:num_running_reqs", "Requests that run.", func(s *state) float64 { return float64(s.Running) })
	number(now, "sglang:num_queue_reqs", "Requests that wait.", func(s *state) float64 { return float64(s.Waiting) })
	number(now, "sglang:num_used_tokens", "Tokens of the pool that running requests hold, in whole pages.", func(s *state) float64 { return float64(s.UsedTokens) })
	number(now, "sglang:kv_used_tokens", "What num_used_tokens says.", func(s *state) float64 { return float64(s.UsedTokens) })
	number(now, "sglang:kv_evictable_tokens", "Tokens of the pool that cached prefixes hold.", func(s *state) float64 { return float64(s.Pages.Cached * engine.PageTokens) })
	number(now, "sglang:kv_available_tokens", "Tokens of the pool that nobody holds; adapters hold the rest.", func(s *state) float64 { return float64(s.Pages.Free * engine.PageTokens) })
	number(now, "sglang:max_total_num_tokens", "Tokens that the pool has room for.", func(s *state) float64 { return float64(s.TotalTokens) })
	number(now, "sglang:page_size", "Tokens of a page of the pool.", func(*state) float64 { return engine.PageTokens })
	number(now, "sglang:num_pages", "Pages of the pool.", func(s *state) float64 { return float64(s.TotalTokens / engine.PageTokens) })
	number(now, "sglang:context_len", "Tokens of prompt and completion together.", func(*state) float64 { return float64(config.ContextLength) })
	number(now, "sglang:token_usage", "Share of the pool that running requests hold.", func(s *state) float64 { return ratio(s.UsedTokens, s.TotalTokens) })
	number(now, "sglang:gen_throughput", "Tokens generated per second, of late.", func(s *state) float64 { return s.pace.tokensPerSecond })
	number(now, "sglang:cache_hit_rate", "Share of the last prompts that the prefix cache had.", func(s *state) float64 { return s.pace.hitRate })
	if config.EnableLoRA {
		slots := config.AdapterSlots
		number(now, "sglang:lora_pool_slots_used", "Adapters that are resident.", func(s *state) float64 { return float64(s.ResidentAdapters) })
		number(now, "sglang:lora_pool_slots_total", "Adapters that can be resident at once.", func(*state) float64 { return float64(slots) })
		number(now, "sglang:lora_pool_utilization", "Share of those that are.", func(s *state) float64 { return ratio(s.ResidentAdapters, slots) })
	}
	number(now, "sglang:num_retracted_reqs", "Requests that gave their memory back and wait to run again.", func(s *state) float64 { return float64(s.Retracted) })
	number(total, "sglang:num_retracted_requests_total", "Times that a running request gave its memory back and was computed again.", func(s *state) float64 { return float64(s.Preemptions) })
	number(total, "lorikeet:evicted_pages_total", "Pages of cached prefixes that gave way.", func(s *state) float64 { return float64(s.EvictedPages) })
	number(total, "lorikeet:evicted_adapters_total", "Resident adapters that gave way.", func(s *state) float64 { return float64(s.EvictedAdapters) })
	number(now, "lorikeet:host_adapters", "Adapters in host memory, those included that were unloaded and are in use still.", func(s *state) float64 { return float64(s.HostAdapters.Adapters) })
	number(now, "lorikeet:host_adapter_bytes", "What they take of host memory.", func(s *state) float64 { return float64(s.HostAdapters.Bytes) })
	parts := func(kind prometheus.ValueType, name, help, label string, values map[string]func(*state) float64) {
		description := prometheus.NewDesc(name, help, []string{label}, nil)
		for part, value := range values {
			g.rows = append(g.rows, gauge{description, kind, []string{part}, value})
		}
	}
	parts(total, "sglang:realtime_tokens_total", "Tokens generated, and those of the prompts that started.", "mode", map[string]func(*state) float64{
		"prefill_compute": func(s *state) float64 { return float64(s.PromptTokens - s.CachedTokens) },
		"prefill_cache":   func(s *state) float64 { return float64(s.CachedTokens) },
		"decode":          func(s *state) float64 { return float64(s.NewTokens) },
	})
	parts(now, "lorikeet:pages", "Pages of the pool, by who holds them.", "holder", map[string]func(*state) float64{
		"running":  func(s *state) float64 { return float64(s.Pages.Running) },
		"cached":   func(s *state) float64 { return float64(s.Pages.Cached) },
		"adapters": func(s *state) float64 { return float64(s.Pages.Adapters) },
		"free":     func(s *state) float64 { return float64(s.Pages.Free) },
	})
	return g
}

func ratio(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// Describe is part of prometheus.Collector.
func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	to <- g.cache
	for _, row := range g.rows {
		to <- row.description
	}
}

// Collect is part of prometheus.Collector.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	s := &state{Stats: g.engine.Stats(), pace: g.pulse.pace()}
	to <- prometheus.MustNewConstMetric(
		g.cache, prometheus.GaugeValue, 1, strconv.Itoa(engine.PageTokens), strconv.Itoa(s.TotalTokens/engine.PageTokens),
	)
	for _, row := range g.rows {
		to <- prometheus.MustNewConstMetric(row.description, row.kind, row.value(s), row.labels...)
	}
}
