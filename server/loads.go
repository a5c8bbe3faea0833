package server

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// load is what /v1/loads says of an engine, for routers that choose one. The keys are SGLang's.
type load struct {
	Rank       int     `json:"dp_rank"`
	Running    int     `json:"num_running_reqs"`
	Waiting    int     `json:"num_waiting_reqs"`
	Pending    int     `json:"num_waiting_uncached_tokens"` // at most: what the prefix cache has is known only when a request starts
	Used       int     `json:"num_used_tokens"`
	Demanded   int     `json:"num_total_tokens"` // used and pending
	Room       int     `json:"max_total_num_tokens"`
	MaxRunning int     `json:"max_running_requests"`
	Usage      float64 `json:"token_usage"`
	Throughput float64 `json:"gen_throughput"` // tokens per second
	HitRate    float64 `json:"cache_hit_rate"`
	Objective  float64 `json:"utilization"` // of a service level objective, which there is none of: 0, as from SGLang

	Memory *memoryLoad `json:"memory,omitempty"`
	LoRA   *loraLoad   `json:"lora,omitempty"`
	Queues *queueLoad  `json:"queues,omitempty"`
}

type memoryLoad struct {
	Tokens int `json:"token_capacity"`
}

type loraLoad struct {
	Used        int     `json:"slots_used"`
	Total       int     `json:"slots_total"`
	Utilization float64 `json:"utilization"`
}

type queueLoad struct {
	Waiting   int `json:"waiting"`
	Grammar   int `json:"grammar"` // there are none
	Paused    int `json:"paused"`  // nor such
	Retracted int `json:"retracted"`
}

// loadSections are what a request for loads may ask to be included.
var loadSections = []string{"core", "memory", "spec", "lora", "disagg", "queues", "all"}

const (
	loadsPath   = "/v1/loads"
	oldLoadPath = "/get_load"
)

// loads answers GET /v1/loads.
func (s *Server) loads(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	sections := []string{"all"}
	if include := query.Get("include"); include != "" {
		sections = strings.Split(include, ",")
	}
	for i, section := range sections {
		if sections[i] = strings.TrimSpace(section); !slices.Contains(loadSections, sections[i]) {
			s.fail(w, r, invalid("Invalid include sections: %q. Valid options: %s", section, strings.Join(loadSections, ", ")))
			return
		}
	}
	if format := query.Get("format"); format != "" && format != "json" {
		s.fail(w, r, invalid("format must be json, got %q; Prometheus finds the same at /metrics, with --enable-metrics.", format))
		return
	}
	loads := []*load{s.load(sections)}
	if text := query.Get("dp_rank"); text != "" {
		rank, err := strconv.Atoi(text)
		if err != nil {
			s.fail(w, r, malformed("dp_rank must be an integer, got %q", text))
			return
		}
		if rank != loads[0].Rank {
			loads = []*load{}
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000000-07:00"), "version": s.config.Version,
		"accelerator": nil, "num_accelerators": 1, "loads": loads,
	})
}

// oldLoad answers GET /get_load.
func (s *Server) oldLoad(w http.ResponseWriter, _ *http.Request) {
	l := s.load(nil)
	writeJSON(w, http.StatusOK, []map[string]any{{
		"dp_rank": l.Rank, "num_reqs": l.Running + l.Waiting, "num_waiting_reqs": l.Waiting,
		"num_tokens": l.Demanded, "num_pending_tokens": l.Pending, "ts_tic": time.Since(s.started).Seconds(),
	}})
}

// load is the engine's load now, with these sections.
func (s *Server) load(sections []string) *load {
	stats, pace := s.engine.Stats(), s.pulse.pace()
	l := &load{
		Running: stats.Running, Waiting: stats.Waiting, Pending: stats.PendingTokens, Used: stats.UsedTokens,
		Demanded: stats.UsedTokens + stats.PendingTokens, Room: stats.TotalTokens, MaxRunning: stats.MaxRunning,
		Usage: ratio(stats.UsedTokens, stats.TotalTokens), Throughput: pace.tokensPerSecond, HitRate: pace.hitRate,
	}
	asked := func(section string) bool {
		return slices.Contains(sections, section) || slices.Contains(sections, "all")
	}
	if asked("memory") {
		l.Memory = &memoryLoad{stats.TotalTokens}
	}
	if asked("lora") && s.config.EnableLoRA {
		l.LoRA = &loraLoad{stats.ResidentAdapters, s.config.AdapterSlots, ratio(stats.ResidentAdapters, s.config.AdapterSlots)}
	}
	if asked("queues") {
		l.Queues = &queueLoad{Waiting: stats.Waiting, Retracted: stats.Retracted}
	}
	return l
}
