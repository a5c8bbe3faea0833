package server

import (
	"cmp"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"lorikeet/server/engine"
)

// metrics counts what requests do, for Prometheus. Names, meanings and buckets are SGLang's where it has them; those that begin
// with lorikeet: are ours. No label has a value for each adapter or client, of which there may be any number. A nil
// *metrics counts nothing.
type metrics struct {
	handler                                         http.Handler
	prompt, cached, generated, finished, aborted    prometheus.Counter
	waited, firstToken, betweenTokens, wholeRequest prometheus.Histogram
	prompts, uncachedPrompts, generations           prometheus.Histogram
	requests, responses                             *prometheus.CounterVec
	active                                          *prometheus.GaugeVec
}

// SGLang's buckets, in seconds and tokens.
var (
	waitedBuckets = []float64{
		0, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100, 200, 300, 400, 500, 600, 700, 800,
		900, 1000, 1200, 1400, 1600, 1800, 2000, 2500, 3000,
	}
	firstTokenBuckets    = []float64{0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400}
	betweenTokensBuckets = []float64{
		0.002, 0.004, 0.006, 0.008, 0.010, 0.015, 0.020, 0.025, 0.030, 0.035, 0.040, 0.060, 0.080, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8,
	}
	wholeRequestBuckets = []float64{0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400, 600, 1200, 1800, 2400}
	lengthBuckets       = []float64{
		100, 300, 500, 700, 1000, 1500, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000, 12500, 15000, 17500, 20000, 22500, 25000, 27500,
		30000, 35000, 40000, 60000, 80000, 100000, 200000, 300000, 400000, 600000, 800000, 1000000, 1100000,
	}
)

// liveHeap is what the last garbage collection found in use: unlike the heap's size, a measure that shows whether something leaks.
var liveHeap = regexp.MustCompile(`^/gc/heap/live:bytes$`)

func newMetrics(model string, state *gauges) *metrics {
	registry := prometheus.NewRegistry()
	goes := collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.GoRuntimeMetricsRule{Matcher: liveHeap}))
	registry.MustRegister(goes, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	labelled := prometheus.WrapRegistererWith(prometheus.Labels{"model_name": model}, registry)
	// Of the ranks that SGLang may have, this server is the first and only one.
	ranked := prometheus.WrapRegistererWith(prometheus.Labels{"engine_type": "unified", "tp_rank": "0", "pp_rank": "0"}, labelled)
	ranked.MustRegister(state)
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		labelled.MustRegister(c)
		return c
	}
	histogram := func(to prometheus.Registerer, name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
		to.MustRegister(h)
		return h
	}
	m := &metrics{
		handler:       promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		prompt:        counter("sglang:prompt_tokens_total", "Prompt tokens of requests that had their first token, or asked for none."),
		cached:        counter("sglang:cached_tokens_total", "Those of them that the prefix cache had."),
		generated:     counter("sglang:generation_tokens_total", "Tokens generated."),
		finished:      counter("sglang:num_requests_total", "Requests that ended, each answer to a prompt being one."),
		aborted:       counter("sglang:num_aborted_requests_total", "Requests that were aborted, by a client or by a failure."),
		waited:        histogram(ranked, "sglang:queue_time_seconds", "From a request's submission to its start.", waitedBuckets),
		firstToken:    histogram(labelled, "sglang:time_to_first_token_seconds", "From a request's arrival to its first token.", firstTokenBuckets),
		betweenTokens: histogram(labelled, "sglang:inter_token_latency_seconds", "From a token to the next.", betweenTokensBuckets),
		wholeRequest:  histogram(labelled, "sglang:e2e_request_latency_seconds", "From a request's arrival to its last token.", wholeRequestBuckets),

		prompts:         histogram(labelled, "sglang:prompt_tokens_histogram", "Prompt tokens of a request that ended.", lengthBuckets),
		uncachedPrompts: histogram(labelled, "sglang:uncached_prompt_tokens_histogram", "Those of them that the prefix cache did not have.", lengthBuckets),
		generations:     histogram(labelled, "sglang:generation_tokens_histogram", "Tokens generated for a request that ended.", lengthBuckets),

		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sglang:http_requests_total", Help: "HTTP requests, by endpoint.",
		}, []string{"endpoint", "method"}),
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sglang:http_responses_total", Help: "HTTP responses that ended, by endpoint and status; 499 is for who left before.",
		}, []string{"endpoint", "status_code", "method"}),
		active: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sglang:http_requests_active", Help: "HTTP requests that are being answered, by endpoint.",
		}, []string{"endpoint", "method"}),
	}
	registry.MustRegister(m.requests, m.responses, m.active)
	return m
}

// news counts what an update has brought to an answer that had so many tokens before.
func (m *metrics) news(a *answer, u *engine.Update, had int) {
	if m == nil {
		return
	}
	if u.Waited > 0 {
		m.waited.Observe(u.Waited.Seconds())
	}
	gained := len(a.ids) - had
	if had == 0 && (gained > 0 || u.Finish != nil && u.Finish.Reason != engine.FinishAbort) { // no tokens may have been asked for
		m.prompt.Add(float64(len(a.prompt)))
		m.cached.Add(float64(a.cached))
	}
	if gained == 0 {
		return
	}
	now := time.Now()
	m.generated.Add(float64(gained))
	if had == 0 {
		m.firstToken.Observe(now.Sub(a.received).Seconds())
		a.newest, gained = now, gained-1
	}
	// Tokens that came together share the time since the last news.
	each := now.Sub(a.newest).Seconds() / float64(max(1, gained))
	for range gained {
		m.betweenTokens.Observe(each)
	}
	a.newest = now
}

// routed counts the requests that have a route, and tells their log lines which.
func (m *metrics) routed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		endpoint, _ := mux.CurrentRoute(r).GetPathTemplate()
		m.requests.WithLabelValues(endpoint, r.Method).Inc()
		active := m.active.WithLabelValues(endpoint, r.Method)
		active.Inc()
		defer active.Dec()
		if l, ok := r.Context().Value(lineKey{}).(*line); ok {
			l.endpoint = endpoint
		}
		next.ServeHTTP(w, r)
	})
}

// responded counts a response; without an endpoint the request had no route.
func (m *metrics) responded(endpoint, method string, status int) {
	if m != nil && endpoint != "" {
		m.responses.WithLabelValues(endpoint, strconv.Itoa(cmp.Or(status, http.StatusOK)), method).Inc()
	}
}

// ended counts the answers of a request, whichever way each of them ended.
func (m *metrics) ended(answers []*answer) {
	if m == nil {
		return
	}
	for _, a := range answers {
		if a.finish == nil || a.finish.Type == engine.FinishAbort {
			m.aborted.Inc()
			continue
		}
		m.finished.Inc()
		m.wholeRequest.Observe(a.elapsed.Seconds())
		m.prompts.Observe(float64(len(a.prompt)))
		m.uncachedPrompts.Observe(float64(len(a.prompt) - a.cached))
		m.generations.Observe(float64(len(a.ids)))
	}
}
