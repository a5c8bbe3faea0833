package engine

import (
	"context"
	"errors"
	"slices"

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

// ReplaceAdapter is LoadAdapter of a name that another adapter may have: requests
// that run keep that one, and later ones get the new one.
func (e *Engine) ReplaceAdapter(ctx context.Context, name, path string, pinned bool) error {
	if e.registry == nil {
		return lora.ErrDisabled
	}
	return e.registry.Replace(ctx, name, path, pinned)
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

// KnowsAdapter says whether requests may ask for an adapter of the name, loaded
// or to be loaded again.
func (e *Engine) KnowsAdapter(name string) bool {
	return e.registry != nil && e.registry.Knows(name)
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
// wait. One that has ended, and whose last step is still on the device, is
// waited for.
func (e *Engine) Flush() error {
	for {
		err := ErrStopped
		e.control(func() { err = e.flush() })
		if !errors.Is(err, errEnding) {
			return err
		}
	}
}

// errEnding says that all requests have ended, and a step in flight has not.
var errEnding = errors.New("engine: a step is in flight")

func (e *Engine) flush() error {
	for _, list := range [...][]*sequence{e.waiting, e.running} {
		if slices.ContainsFunc(list, func(q *sequence) bool { return !q.finished }) {
			return ErrBusy
		}
	}
	if !e.idle() {
		return errEnding
	}
	e.pages.Give(e.prefixes.clear(nil))
	return nil
}

// forget frees what the device holds of an adapter that is gone.
func (e *Engine) forget(id uint64) {
	e.slots.Drop(id)
	e.pages.Give(e.prefixes.drop(id, nil))
}
