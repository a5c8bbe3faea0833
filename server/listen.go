package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Gate stands before a server that is still starting: until Open, every request is answered 503.
type Gate struct{ handler atomic.Pointer[http.Handler] }

// Open lets requests through to h.
func (g *Gate) Open(h http.Handler) { g.handler.Store(&h) }

// ServeHTTP passes the request on, or answers 503.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := g.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Retry-After", retryAfter)
	writeJSON(w, http.StatusServiceUnavailable, errorObject("the server is starting", "503", http.StatusServiceUnavailable))
}

// Limits of connections, so that a client that is slow or gone holds none for long. An answer may take as long as its
// tokens: only each piece of it has a time to be read in.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = time.Minute
	pieceTimeout  = time.Minute
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10 // bytes
)

// goodbyeTimeout is how long requests that are cut short may take to say so.
const goodbyeTimeout = time.Second

// Serve answers requests on l until ctx ends. Requests that run then have grace to end by themselves before their
// contexts are cancelled, and a moment to tell their clients before the connections are closed.
func Serve(ctx context.Context, l net.Listener, h http.Handler, grace time.Duration) error {
	// Requests outlive ctx, so their contexts descend from another.
	requests, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abort(nil)
	hs := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return requests },
	}
	served := make(chan error, 1)
	go func() { served <- hs.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	err := shutdown(hs, grace)
	if errors.Is(err, context.DeadlineExceeded) {
		slog.Warn("requests are cut short", "after_seconds", grace.Seconds())
		abort(errDraining)
		err = shutdown(hs, goodbyeTimeout)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = hs.Close()
	}
	<-served
	return err
}

func shutdown(hs *http.Server, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return hs.Shutdown(ctx)
}
