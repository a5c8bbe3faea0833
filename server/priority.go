package server

import (
	"math"
	"net/http"
)

// Priorities is what the priority of a request means. The rules are SGLang's.
type Priorities struct {
	Enabled  bool
	LowFirst bool // low numbers go first, not high ones
	Default  *int // of requests that bring none; nil: these go last
	Refuse   bool // refuse requests that bring one when it is not enabled; otherwise it is ignored
}

// errNoPriorities has SGLang's words.
var errNoPriorities = &abortError{
	status: http.StatusServiceUnavailable, message: "Using priority is disabled for this server. Please send a new request without a priority.",
}

// of turns a request's priority, nil when it brings none, into the engine's, of which high numbers go first.
func (p *Priorities) of(given *int) (int, error) {
	switch {
	case !p.Enabled && given != nil && p.Refuse:
		return 0, errNoPriorities
	case !p.Enabled:
		return 0, nil
	case given == nil && p.Default == nil:
		return math.MinInt, nil
	case given == nil:
		given = p.Default
	}
	if p.LowFirst {
		return -*given, nil
	}
	return *given, nil
}
