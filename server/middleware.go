package server

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/cors"
)

// line collects what is said about a request in its one log line.
type line struct {
	mu    sync.Mutex
	attrs []any

	endpoint string // for metrics: the route, once it is known
}

type lineKey struct{}

// maxNoted is how much of a text a log line has, in bytes: names that clients send can be as long as a body.
const maxNoted = 8 << 10

// note adds keys and values to the log line of the request that ctx belongs to.
func note(ctx context.Context, attrs ...any) {
	for i, attr := range attrs {
		if text, ok := attr.(string); ok && len(text) > maxNoted {
			attrs[i] = strings.ToValidUTF8(text[:maxNoted], "") + "..."
		}
	}
	if l, ok := ctx.Value(lineKey{}).(*line); ok {
		l.mu.Lock()
		l.attrs = append(l.attrs, attrs...)
		l.mu.Unlock()
	}
}

// recorder remembers the status and size of an answer, and gives each piece of it its time to be read in.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	written := 0
	for {
		piece := p[written:min(len(p), written+maxPiece)]
		// A connection without deadlines, as tests have, goes without.
		_ = http.NewResponseController(r.ResponseWriter).SetWriteDeadline(time.Now().Add(pieceTimeout))
		n, err := r.ResponseWriter.Write(piece)
		written += n
		r.bytes += int64(n)
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// maxPiece is how much of an answer has to be read within pieceTimeout, in bytes.
const maxPiece = 64 << 10

// Unwrap lets http.ResponseController flush.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// logged writes one line for each request when it ends. What monitors send every second is for debugging.
func (s *Server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, l, rec := time.Now(), new(line), &recorder{ResponseWriter: w}
		defer func() {
			s.metrics.responded(l.endpoint, r.Method, rec.status)
			l.mu.Lock()
			defer l.mu.Unlock()
			attrs := append([]any{
				"method", r.Method, "path", r.URL.Path, "status", rec.status, "bytes", rec.bytes,
				"seconds", time.Since(start).Seconds(), "client", r.RemoteAddr,
			}, l.attrs...)
			s.log.Log(r.Context(), levelOf(r, rec.status), "request", attrs...)
		}()
		next.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), lineKey{}, l)))
	})
}

func levelOf(r *http.Request, status int) slog.Level {
	switch {
	case status >= http.StatusInternalServerError:
		return slog.LevelError
	case watched(r) || r.URL.Path == loadsPath || r.URL.Path == oldLoadPath:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// watched says whether a request is one that monitors send all the time.
func watched(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/health") || strings.HasPrefix(r.URL.Path, "/metrics") ||
		r.URL.Path == "/ready" || r.URL.Path == "/ping"
}

// recovered answers 500 to a request whose handler panics.
func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			err := fmt.Errorf("server: panic: %v\n%s", p, debug.Stack())
			if rec, ok := w.(*recorder); ok && rec.status != 0 {
				note(r.Context(), "error", err.Error())
				panic(http.ErrAbortHandler) // an answer that has begun is cut off, so that it is not taken for whole
			}
			s.fail(w, r, err)
		}()
		next.ServeHTTP(w, r)
	})
}

// authorized asks for the key of --api-key, except of health checks and, as SGLang does, of who reads the metrics.
func (s *Server) authorized(next http.Handler) http.Handler {
	if s.config.APIKey == "" {
		return next
	}
	want := []byte(s.config.APIKey)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open := r.Method == http.MethodOptions || watched(r)
		scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !open && (!strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare([]byte(key), want) != 1) {
			writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "Unauthorized"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// forPages are the paths, beside most below /v1/, that web pages of any origin may ask: what answers prompts, and not what changes the
// server or tells of it.
var forPages = []string{"/generate", "/tokenize", "/detokenize", "/health", "/model_info", "/get_model_info"}

// notForPages are those below /v1/ that they may not.
var notForPages = []string{loadsPath, openLoadPath, openUnloadPath}

// crossOrigin lets browsers pass on what pages of other origins ask, and answers their question whether they may. What is for no page is refused
// to them where it changes the server: a browser sends plain requests without a question, and only keeps the answer from the page.
func crossOrigin(next http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	allowed := cors.New(cors.Options{
		AllowedOrigins: []string{"*"}, AllowedMethods: []string{http.MethodGet, http.MethodPost}, AllowedHeaders: []string{"*"},
	}).Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/") && !slices.Contains(notForPages, r.URL.Path) || slices.Contains(forPages, r.URL.Path) {
			allowed.ServeHTTP(w, r)
			return
		}
		if err := guard.Check(asChange(r)); err != nil {
			writeJSON(w, http.StatusForbidden, map[string]any{"error": fmt.Sprintf("%s is not for web pages of other origins: %v", r.URL.Path, err)})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// asChange is the request, or where a GET changes the server, as SGLang has it, the same as a POST.
func asChange(r *http.Request) *http.Request {
	if r.URL.Path != flushPath || r.Method != http.MethodGet {
		return r
	}
	change := r.WithContext(r.Context())
	change.Method = http.MethodPost
	return change
}

// limited bounds the size of a body and the time in which it has to arrive.
func (s *Server) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			connection := http.NewResponseController(w)
			// A connection without deadlines, as tests have, goes without.
			_ = connection.SetReadDeadline(time.Now().Add(bodyTimeout))
			r.Body = &timedBody{http.MaxBytesReader(w, r.Body, s.config.MaxBodyBytes), connection}
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody lifts the connection's read deadline at the end of the body. From there on net/http reads to learn whether the
// client leaves, and would take a deadline for that.
type timedBody struct {
	io.ReadCloser
	connection *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.connection.SetReadDeadline(time.Time{})
	}
	return n, err
}
