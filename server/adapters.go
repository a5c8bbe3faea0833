package server

import "net/http"

// adapterAnswer is the body of both adapter endpoints; SGLang's control messages carry the first two keys.
type adapterAnswer struct {
	RID          *string           `json:"rid"`
	WorkerIPC    *string           `json:"http_worker_ipc"`
	Success      bool              `json:"success"`
	ErrorMessage string            `json:"error_message"`
	Loaded       map[string]string `json:"loaded_adapters"`
}

// vLLM's names of both endpoints.
const (
	openLoadPath   = "/v1/load_lora_adapter"
	openUnloadPath = "/v1/unload_lora_adapter"
)

// loadAdapter answers POST /load_lora_adapter. With upsert, a key of SGLang's for other ways of loading, or load_inplace, which is
// vLLM's, the name may be taken: the adapter that has it is replaced.
func (s *Server) loadAdapter(w http.ResponseWriter, r *http.Request) {
	o, err := readObject(r)
	var name, path string
	var pinned, upsert, inPlace bool
	if err == nil {
		name = keep[string](&err)(required(o, "lora_name", readString))
		path = keep[string](&err)(required(o, "lora_path", readString))
		pinned = keep[bool](&err)(field(o, "pinned", readBool))
		upsert = keep[bool](&err)(field(o, "upsert", readBool))
		inPlace = keep[bool](&err)(field(o, "load_inplace", readBool))
	}
	if err == nil && name == s.config.ServedName {
		err = malformed("lora_name %q is the name that the base model is served under", name)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	note(r.Context(), "adapter", name, "path_on_disk", path)
	load := s.engine.LoadAdapter
	if upsert || inPlace {
		load = s.engine.ReplaceAdapter
	}
	s.answerAdapter(w, r, load(r.Context(), name, path, pinned))
}

// unloadAdapter answers POST /unload_lora_adapter. It answers when the last request that uses the adapter has ended.
func (s *Server) unloadAdapter(w http.ResponseWriter, r *http.Request) {
	o, err := readObject(r)
	var name string
	if err == nil {
		name, err = required(o, "lora_name", readString)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	note(r.Context(), "adapter", name)
	s.answerAdapter(w, r, s.engine.UnloadAdapter(r.Context(), name))
}

func (s *Server) answerAdapter(w http.ResponseWriter, r *http.Request, err error) {
	answer := adapterAnswer{Success: err == nil, Loaded: s.adapterMap()}
	status := http.StatusOK
	if err != nil {
		answer.ErrorMessage = err.Error()
		note(r.Context(), "error", err.Error())
		if status, _ = failureOf(err); status == http.StatusInternalServerError {
			status = http.StatusBadRequest // whatever is wrong with an adapter's files is told to who named them
		}
	}
	if !s.config.EnableLoRA {
		answer.Loaded = nil
	}
	writeJSON(w, status, answer)
}

// required reads a key that must be there. An empty name or path is as good as none.
func required[T any](o object, key string, read reader[T]) (v T, err error) {
	if raw, ok := o[key]; !ok || empty(raw) {
		return v, malformed("%s is required", key)
	}
	return field(o, key, read)
}
