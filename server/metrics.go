package server

import (
	"net/http"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"lorikeet/server/engine"
)

// metrics counts what requests do, for Prometheus. Names, meanings and buckets are SGLang's where it has them; those that begin
// with lorikeet: are ours. No label has a value for each adapter or client, of which there may be any number. A nil
// *metrics counts nothing.
type metrics struct {
	handler                                      http.Handler
	prompt, cached, generated, finished, aborted prometheus.Counter
	firstToken, betweenTokens, wholeRequest      prometheus.Histogram
}

// SGLang's buckets, in seconds.
var (
	firstTokenBuckets    = []float64{0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400}
	betweenTokensBuckets = []float64{
		0.002, 0.004, 0.006, 0.008, 0.010, 0.015, 0.020, 0.025, 0.030, 0.035, 0.040, 0.060, 0.080, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8,
	}
	wholeRequestBuckets = []float64{0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400, 600, 1200, 1800, 2400}
)

// liveHeap is what the last garbage collection found in use: unlike the heap's size, a measure that shows whether something leaks.
var liveHeap = regexp.MustCompile(`^/gc/heap/live:bytes$`)

func newMetrics(model string, state *gauges) *metrics {
	registry := prometheus.NewRegistry()
	goes := collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.GoRuntimeMetricsRule{Matcher: liveHeap}))
	registry.MustRegister(goes, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	labelled := prometheus.WrapRegistererWith(prometheus.Labels{"model_name": model}, registry)
	labelled.MustRegister(state)
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		labelled.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
		labelled.MustRegister(h)
		return h
	}
	return &metrics{
		handler:       promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		prompt:        counter("sglang:prompt_tokens_total", "Prompt tokens of requests that had their first token."),
		cached:        counter("sglang:cached_tokens_total", "Those of them that the prefix cache had."),
		generated:     counter("sglang:generation_tokens_total", "Tokens generated."),
		finished:      counter("sglang:num_requests_total", "Requests that ended, each answer to a prompt being one."),
		aborted:       counter("sglang:num_aborted_requests_total", "Requests that were aborted, by a client or by a failure."),
		firstToken:    histogram("sglang:time_to_first_token_seconds", "From a request's arrival to its first token.", firstTokenBuckets),
		betweenTokens: histogram("sglang:inter_token_latency_seconds", "From a token to the next.", betweenTokensBuckets),
		wholeRequest:  histogram("sglang:e2e_request_latency_seconds", "From a request's arrival to its last token.", wholeRequestBuckets),
	}
}

// tokens counts the tokens that an answer has gained since it had so many.
func (m *metrics) tokens(a *answer, had int) {
	gained := len(a.ids) - had
	if m == nil || gained == 0 {
		return
	}
	now := time.Now()
	m.generated.Add(float64(gained))
	if had == 0 {
		m.prompt.Add(float64(len(a.prompt)))
		m.cached.Add(float64(a.cached))
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
	}
}
