package engine

import (
	"context"

	"lorikeet/lora"
)

// LoadAdapter reads an adapter and registers it. It runs on the caller's
// goroutine: steps go on meanwhile.
func (e *Engine) LoadAdapter(ctx context.Context, name, path string, pinned bool) error {
	if e.registry == nil {
		return lora.ErrDisabled
	}
	return e.registry.Load(ctx, name, path, pinned)
}

// UnloadAdapter takes an adapter's name away, waits for the requests that use
// it, and frees its memory.
func (e *Engine) UnloadAdapter(ctx context.Context, name string) error {
	if e.registry == nil {
		return lora.ErrDisabled
	}
	return e.registry.Unload(ctx, name)
}

// Adapters lists the registered adapters in order of loading; nil when
// adapters are disabled.
func (e *Engine) Adapters() []lora.Listing {
	if e.registry == nil {
		return nil
	}
	return e.registry.List()
}

// Ready says why the engine takes no requests, or nil.
func (e *Engine) Ready() error {
	select {
	case <-e.stopped:
		return e.cause
	default:
		return nil
	}
}

// Flush empties the prefix cache, which must be idle. There is none yet to
// empty: it only answers whether requests are running.
func (e *Engine) Flush() error {
	if s := e.Stats(); s.Running+s.Waiting > 0 {
		return ErrBusy
	}
	return nil
}
