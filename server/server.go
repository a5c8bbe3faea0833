// Package server speaks SGLang's HTTP interface: it decodes and validates requests, hands them to the engine, and
// answers as one JSON object, an array, or a stream of server-sent events.
//
// A request to /generate goes through parseGenerate (types and shapes, no state), prepare (tokens, lengths, adapters),
// Engine.Submit, and one follow per sequence, which turns the engine's updates into an answer. OpenAI's endpoints have parsers and
// forms of answers of their own, and all else in common with it.
package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"

	"lorikeet/server/engine"
)

// Engine is what the server needs of an engine.
type Engine interface {
	// Submit queues all requests or none. Cancelling ctx aborts them.
	Submit(ctx context.Context, requests []engine.Request) ([]Stream, error)
	LoadAdapter(ctx context.Context, name, path string, pinned bool) error
	ReplaceAdapter(ctx context.Context, name, path string, pinned bool) error // the name may be taken
	UnloadAdapter(ctx context.Context, name string) error
	Adapters() []Adapter           // in order of loading
	KnowsAdapter(name string) bool // requests may ask for it, which may load it again
	Flush() error
	Ready() error
	Stats() engine.Stats
}

// Stream is the results of one request.
type Stream interface {
	// Next blocks until there is news, which may be empty, or ctx ends. The last update carries Finish.
	Next(ctx context.Context) (engine.Update, error)
	Cancel()
}

// Adapter is a registered adapter, and where it was loaded from.
type Adapter struct{ Name, Path string }

// Tokenizer turns text into token ids and back.
type Tokenizer interface {
	Encode(text string, addSpecial bool) []int32
	Decode(ids []int32, skipSpecial bool) string
	NewDecoder(skipSpecial bool) Decoder
	// Bytes are those that a token stands for, of which several may make up a character.
	Bytes(id int32) []byte
	// MostBytes is the most bytes of text that one token can stand for, or 0 when that is not known.
	MostBytes() int
}

// Decoder decodes a sequence as its tokens arrive. Push returns whole characters only; Flush returns what is left.
type Decoder interface {
	Push(id int32) string
	Flush() string
}

// Config is what the server says about the model, and its limits.
type Config struct {
	ModelPath     string
	TokenizerPath string
	ServedName    string // "" is ModelPath
	ModelType     string // config.json's model_type
	Architectures []string
	Chat          ChatTemplate // nil: the model has none
	// ChatSampling is generation_config.json's temperature, top_p and so on, for conversations that name none.
	ChatSampling  map[string]json.RawMessage
	ContextLength int // tokens of prompt and completion together
	VocabSize     int

	EnableLoRA        bool
	AdapterSlots      int // adapters that can be resident at once
	Priorities        Priorities
	AllowAutoTruncate bool // cut what is too long instead of refusing it
	APIKey            string
	RandomSeed        uint64         // seeds requests that bring no sampling_seed
	StreamsNews       bool           // events of /generate have what is new of the output, not all of it so far
	EnableMetrics     bool           // serve /metrics
	LogInterval       int            // decode steps between two log lines about them; 0 is 40
	Arguments         map[string]any // reported by /server_info
	Version           string
	MaxBodyBytes      int64 // 0 is 64 MiB
	Logger            *slog.Logger
}

const (
	defaultMaxBody     = 64 << 20
	defaultLogInterval = 40
)

// Server answers HTTP requests with an engine's results.
type Server struct {
	config    Config
	engine    Engine
	tokenizer Tokenizer
	log       *slog.Logger
	started   time.Time
	flights   flights
	pulse     pulse
	chats     sampling // of conversations that name none
	metrics   *metrics // nil: not enabled
	draining  atomic.Bool

	seeds   sync.Mutex // guards random
	random  *rand.Rand
	handler http.Handler
}

// New makes a server. Without a tokenizer it takes and gives ids only.
func New(config Config, e Engine, t Tokenizer) *Server {
	if config.ServedName == "" {
		config.ServedName = config.ModelPath
	}
	if config.MaxBodyBytes == 0 {
		config.MaxBodyBytes = defaultMaxBody
	}
	if config.LogInterval == 0 {
		config.LogInterval = defaultLogInterval
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	s := &Server{
		config: config, engine: e, tokenizer: t, log: config.Logger, started: time.Now(),
		random: rand.New(rand.NewPCG(config.RandomSeed, 0)),
	}
	s.chats = chatDefaults(config.ChatSampling, config.Logger)
	s.pulse = pulse{engine: e, log: config.Logger, every: uint64(config.LogInterval)}
	if config.EnableMetrics {
		s.metrics = newMetrics(config.ServedName, newGauges(e, &s.pulse, &config))
	}
	s.flights.byID = make(map[string]*flight)
	s.handler = s.routes()
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Watch measures how fast tokens come, and logs it while they do, until ctx ends.
func (s *Server) Watch(ctx context.Context) { s.pulse.beat(ctx) }

// Drain makes the server report itself unhealthy, so that routers send no more work. What comes all the same is taken: whoever
// closes the listener decides when that ends.
func (s *Server) Drain() { s.draining.Store(true) }

func (s *Server) routes() http.Handler {
	r := mux.NewRouter().SkipClean(true) // a model that is a folder has // in its path below /v1/models/
	r.HandleFunc("/generate", s.generate).Methods(http.MethodPost, http.MethodPut)
	r.HandleFunc("/v1/completions", s.openEndpoint(s.parseCompletion)).Methods(http.MethodPost)
	r.HandleFunc("/v1/chat/completions", s.openEndpoint(s.parseChat)).Methods(http.MethodPost)
	r.HandleFunc("/abort_request", s.abortRequest).Methods(http.MethodPost)
	r.HandleFunc("/load_lora_adapter", s.loadAdapter).Methods(http.MethodPost)
	r.HandleFunc("/unload_lora_adapter", s.unloadAdapter).Methods(http.MethodPost)
	r.HandleFunc(openLoadPath, s.loadAdapter).Methods(http.MethodPost)
	r.HandleFunc(openUnloadPath, s.unloadAdapter).Methods(http.MethodPost)
	r.HandleFunc(flushPath, s.flushCache).Methods(http.MethodGet, http.MethodPost)
	r.HandleFunc("/v1/models", s.models).Methods(http.MethodGet)
	r.HandleFunc("/v1/models/{id:.+}", s.model).Methods(http.MethodGet)
	for _, path := range []string{"/health", "/ready", "/ping"} { // /ping is what SageMaker asks
		r.HandleFunc(path, s.health).Methods(http.MethodGet)
	}
	r.HandleFunc("/health_generate", s.healthGenerate).Methods(http.MethodGet)
	if s.metrics != nil {
		r.Use(s.metrics.routed)
		r.Handle("/metrics", s.metrics.handler).Methods(http.MethodGet)
	}
	r.HandleFunc(loadsPath, s.loads).Methods(http.MethodGet)
	r.HandleFunc(oldLoadPath, s.oldLoad).Methods(http.MethodGet)
	for _, path := range []string{"/model_info", "/get_model_info"} {
		r.HandleFunc(path, s.modelInfo).Methods(http.MethodGet)
	}
	for _, path := range []string{"/server_info", "/get_server_info"} {
		r.HandleFunc(path, s.serverInfo).Methods(http.MethodGet)
	}
	for _, prefix := range []string{"", "/v1"} {
		r.HandleFunc(prefix+"/tokenize", s.tokenize).Methods(http.MethodPost)
		r.HandleFunc(prefix+"/detokenize", s.detokenize).Methods(http.MethodPost)
	}
	r.NotFoundHandler = notFound(r)
	r.MethodNotAllowedHandler = notAllowed(r)
	return s.logged(s.recovered(crossOrigin(s.authorized(s.limited(r)))))
}

// seed draws a seed for a request that brings none.
func (s *Server) seed() uint64 {
	s.seeds.Lock()
	defer s.seeds.Unlock()
	return s.random.Uint64()
}
