package lora

import (
	"context"
	"fmt"
)

// Unload takes an adapter's name away and waits until its last user is gone and
// it is freed. When ctx ends first the adapter is freed later all the same.
func (r *Registry) Unload(ctx context.Context, name string) error {
	freed, err := r.remove(name)
	if err != nil {
		return err
	}
	if err := wait(ctx, freed); err != nil {
		return fmt.Errorf("lora: unload %q: waiting for the requests that use it: %w", name, err)
	}
	return nil
}

// remove returns what is closed when the adapter is freed. One that was evicted is unloaded all the same: its client
// never gave it up.
func (r *Registry) remove(name string) (freed <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, is := r.loaded[name], r.names.records[name]
	if e == nil && (is == nil || is.unloaded) {
		return nil, refuseUnload(name, r.loadedNames())
	}
	is.unloaded = true
	if e == nil {
		r.names.lost(is)
		return closed, nil
	}
	r.lose(e)
	return e.freed, nil
}

// closed is news that have come.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// lose takes an adapter's name away, which is then without one.
func (r *Registry) lose(e *entry) {
	r.names.lost(r.names.records[e.adapter.Name])
	r.retire(e)
}

// retire takes an adapter's name away; it is freed now or by the last release.
func (r *Registry) retire(e *entry) {
	delete(r.loaded, e.adapter.Name)
	e.retired = true
	r.change()
	r.freeIfUnused(e)
}

// letGo takes references back.
func (r *Registry) letGo(e *entry, refs int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.refs -= refs; e.refs == 0 {
		r.held.InUse--
		r.change()
	}
	r.freeIfUnused(e)
}

// freeIfUnused starts a goroutine because OnFree may wait for the very
// goroutine that released the adapter.
func (r *Registry) freeIfUnused(e *entry) {
	if !e.retired || e.refs > 0 {
		return
	}
	r.held.Adapters--
	r.held.Bytes -= e.adapter.Bytes()
	onFree := r.onFree
	go func() {
		onFree(e.adapter)
		close(e.freed)
	}()
}
