package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gorilla/mux"

	"lorikeet/lora"
	"lorikeet/server/engine"
)

// requestError is a request whose values make no sense: the client's fault.
type requestError struct{ message string }

func (e *requestError) Error() string { return e.message }

func invalid(format string, args ...any) error {
	return &requestError{fmt.Sprintf(format, args...)}
}

// bodyError is a body that is not the JSON the endpoint reads.
type bodyError struct{ message string }

func (e *bodyError) Error() string { return e.message }

func malformed(format string, args ...any) error {
	return &bodyError{fmt.Sprintf(format, args...)}
}

// abortError is a sequence that the engine gave up or did not take.
type abortError struct {
	status  int
	message string
}

func (e *abortError) Error() string { return e.message }

// statusClientGone is logged, and never seen, when the client left before the answer.
const statusClientGone = 499

// shape is the form of an error body. SGLang has a different one for each layer that can fail.
type shape int

const (
	valueShape    shape = iota // {"error":{"message"}}
	bodyShape                  // {"object":"error",...,"type":"Bad Request"}
	refusalShape               // {"object":"error",...,"type":"503"}
	internalShape              // the text "Internal Server Error"; the error goes to the log only
)

// failures maps errors to answers; the first row that matches decides. What matches none is ours: 500.
var failures = []struct {
	matches func(error) bool
	status  int
	shape   shape
}{
	{isA[*bodyError], http.StatusBadRequest, bodyShape},
	{is(errSlowBody), http.StatusRequestTimeout, refusalShape},
	{isA[*http.MaxBytesError], http.StatusRequestEntityTooLarge, refusalShape},
	{isA[*requestError], http.StatusBadRequest, valueShape},
	{isA[*engine.RequestError], http.StatusBadRequest, valueShape},
	{is(lora.ErrRefused), http.StatusBadRequest, valueShape},
	{is(engine.ErrStopped), http.StatusServiceUnavailable, refusalShape},
	{is(ErrReopening), http.StatusServiceUnavailable, refusalShape},
	{is(errDraining), http.StatusServiceUnavailable, refusalShape},
	{is(context.Canceled), statusClientGone, refusalShape},
}

// ErrReopening is what an Engine answers while its device is lost and another one is being opened.
var ErrReopening = errors.New("the device was lost and is being opened again; try again in a moment")

// errQueueFull refuses what would wait behind --max-queued-requests others, in SGLang's words.
var errQueueFull = &abortError{status: http.StatusServiceUnavailable, message: "The request queue is full."}

// errSlowBody ends a request whose body does not arrive.
var errSlowBody = fmt.Errorf("the request body did not arrive within %v", bodyTimeout)

var errDraining = errors.New("the server is shutting down")

func isA[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

// failureOf says how an error is answered.
func failureOf(err error) (int, shape) {
	if abort, ok := errors.AsType[*abortError](err); ok {
		if abort.status == http.StatusBadRequest {
			return abort.status, valueShape
		}
		return abort.status, refusalShape
	}
	for _, f := range failures {
		if f.matches(err) {
			return f.status, f.shape
		}
	}
	return http.StatusInternalServerError, internalShape
}

// retryAfter is in how many seconds a client that was refused for want of room, or of a device, may try again.
const retryAfter = "1"

// failing begins an answer with an error.
func failing(w http.ResponseWriter, r *http.Request, err error) (int, shape) {
	status, shape := failureOf(err)
	note(r.Context(), "error", err.Error())
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	return status, shape
}

// fail answers with an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch status, shape := failing(w, r, err); shape {
	case valueShape:
		writeJSON(w, status, map[string]any{"error": map[string]any{"message": err.Error()}})
	case bodyShape:
		writeJSON(w, status, errorObject(err.Error(), "Bad Request", status))
	case refusalShape:
		writeJSON(w, status, errorObject(err.Error(), strconv.Itoa(status), status))
	case internalShape:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		fmt.Fprint(w, "Internal Server Error")
	}
}

func errorObject(message, kind string, code int) map[string]any {
	return map[string]any{"object": "error", "message": message, "type": kind, "param": nil, "code": code}
}

// detail answers every request with a status and its reason.
func detail(status int, reason string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, status, map[string]any{"detail": reason})
	})
}

// notFound answers a path that is not there. One that is there without its last slash is said to be, as FastAPI does.
func notFound(routes *mux.Router) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path, slash := strings.CutSuffix(r.URL.Path, "/"); slash && path != "" {
			asked := r.Clone(r.Context())
			asked.URL.Path = path
			var match mux.RouteMatch
			if routes.Match(asked, &match) && match.MatchErr == nil {
				http.Redirect(w, r, asked.URL.RequestURI(), http.StatusTemporaryRedirect)
				return
			}
		}
		body := map[string]any{"detail": "Not Found"}
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			body = openError(fmt.Sprintf("%s %s is not served here; /v1/chat/completions, /v1/completions and /v1/models are.", r.Method, r.URL.Path), http.StatusNotFound)
			body["detail"] = "Not Found"
		}
		writeJSON(w, http.StatusNotFound, body)
	})
}

// notAllowed answers a method that the path does not have, and says which it has.
func notAllowed(routes *mux.Router) http.Handler {
	answer := detail(http.StatusMethodNotAllowed, "Method Not Allowed")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = routes.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
			methods, err := route.GetMethods()
			if err != nil {
				return nil // it has all of them, and would have answered
			}
			for _, method := range methods {
				asked := *r
				asked.Method = method
				var match mux.RouteMatch
				if route.Match(&asked, &match) && match.MatchErr == nil {
					w.Header().Add("Allow", method)
				}
			}
			return nil
		})
		answer.ServeHTTP(w, r)
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that has gone is noticed by whoever reads the request's context.
	_ = encoder(w).Encode(v)
}
