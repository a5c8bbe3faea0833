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

// Flush empties the prefix cache. It fails with ErrBusy while requests run or
// wait.
func (e *Engine) Flush() error {
	err := ErrStopped
	e.control(func() {
		if err = nil; !e.idle() {
			err = ErrBusy
			return
		}
		e.pages.Give(e.prefixes.clear(nil))
	})
	return err
}

// forget frees what the device holds of an adapter that is gone.
func (e *Engine) forget(id uint64) {
	e.slots.Drop(id)
	e.pages.Give(e.prefixes.drop(id, nil))
}
