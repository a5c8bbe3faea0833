package server

import (
	"maps"
	"net/http"

	"github.com/gorilla/mux"

	"lorikeet/server/engine"
)

// modelCard is an entry of /v1/models.
type modelCard struct {
	ID        string  `json:"id"`
	Object    string  `json:"object"`
	Created   int64   `json:"created"`
	OwnedBy   string  `json:"owned_by"`
	Root      string  `json:"root"`
	Parent    *string `json:"parent"`
	MaxLength *int    `json:"max_model_len"`
}

// cards are the base model, then its adapters.
func (s *Server) cards() []modelCard {
	base := modelCard{
		ID: s.config.ServedName, Object: "model", Created: s.started.Unix(), OwnedBy: "sglang",
		Root: s.config.ServedName, MaxLength: &s.config.ContextLength,
	}
	cards := []modelCard{base}
	for _, a := range s.engine.Adapters() {
		card := base
		card.ID, card.Root, card.Parent, card.MaxLength = a.Name, a.Path, &base.ID, nil
		cards = append(cards, card)
	}
	return cards
}

// models answers GET /v1/models.
func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": s.cards()})
}

// model answers GET /v1/models/{id}. SGLang knows only the base model here, of those that it lists.
func (s *Server) model(w http.ResponseWriter, r *http.Request) {
	id := mux.Vars(r)["id"]
	for _, card := range s.cards() {
		if card.ID == id {
			writeJSON(w, http.StatusOK, card)
			return
		}
	}
	writeJSON(w, http.StatusNotFound, map[string]any{"error": map[string]any{
		"message": "The model '" + id + "' does not exist", "type": "invalid_request_error", "param": "model", "code": "model_not_found",
	}})
}

// modelInfo answers GET /model_info.
func (s *Server) modelInfo(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"model_path": s.config.ModelPath, "tokenizer_path": s.config.TokenizerPath, "is_generation": true,
		"preferred_sampling_params": nil, "weight_version": weightVersion,
		"has_image_understanding": false, "has_audio_understanding": false,
		"model_type": s.config.ModelType, "architectures": s.config.Architectures,
	})
}

// serverInfo answers GET /server_info: the command line's settings, those that it leaves to the server as they are in effect, and the
// state of the pool.
func (s *Server) serverInfo(w http.ResponseWriter, _ *http.Request) {
	stats := s.engine.Stats()
	adapters := s.engine.Adapters()
	info := map[string]any{}
	maps.Copy(info, s.config.Arguments)
	maps.Copy(info, map[string]any{
		"version":              s.config.Version,
		"model_path":           s.config.ModelPath,
		"tokenizer_path":       s.config.TokenizerPath,
		"served_model_name":    s.config.ServedName,
		"random_seed":          s.config.RandomSeed,
		"context_length":       s.config.ContextLength,
		"max_req_input_len":    min(s.config.ContextLength-1, stats.TotalTokens-1),
		"max_total_num_tokens": stats.TotalTokens,
		"max_running_requests": stats.MaxRunning,
		"chunked_prefill_size": stats.StepTokens,
		"max_prefill_tokens":   stats.StepTokens,
		"page_size":            engine.PageTokens,
		"weight_version":       weightVersion,
		"loaded_adapters":      s.adapterMap(),
		// One server has one device.
		"dp_size": 1, "tp_size": 1, "pp_size": 1, "ep_size": 1, "attn_cp_size": 1, "moe_dp_size": 1, "nnodes": 1, "node_rank": 0, "base_gpu_id": 0,
		"internal_states": []map[string]any{{
			"effective_max_running_requests_per_dp": stats.MaxRunning,
			"num_running_reqs":                      stats.Running, "num_queue_reqs": stats.Waiting, "num_used_tokens": stats.UsedTokens,
			"token_usage": ratio(stats.UsedTokens, stats.TotalTokens), "last_gen_throughput": s.pulse.pace().busy,
			"memory_usage": map[string]any{"token_capacity": stats.TotalTokens},
			"pages": map[string]any{
				"running": stats.Pages.Running, "cached": stats.Pages.Cached, "adapters": stats.Pages.Adapters, "free": stats.Pages.Free,
			},
			"num_loaded_adapters": len(adapters), "num_resident_adapters": stats.ResidentAdapters, "adapter_host_bytes": stats.HostAdapters.Bytes, "num_adapters_in_use": stats.HostAdapters.InUse,
			"prompt_tokens": stats.PromptTokens, "cached_tokens": stats.CachedTokens, "generated_tokens": stats.NewTokens,
			"num_retractions": stats.Preemptions, "evicted_pages": stats.EvictedPages, "evicted_adapters": stats.EvictedAdapters,
		}},
	})
	writeJSON(w, http.StatusOK, info)
}
