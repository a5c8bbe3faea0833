package lora

import "sync"

// Ref keeps an adapter from being freed. A nil Ref stands for the base model.
type Ref struct {
	registry *Registry
	entry    *entry
	once     sync.Once
}

// Adapter is the adapter that is referred to.
func (f *Ref) Adapter() *Adapter { return f.entry.adapter }

// Release lets go of the adapter. Only the first call does anything.
func (f *Ref) Release() {
	if f == nil {
		return
	}
	f.once.Do(func() { f.registry.letGo(f.entry, 1) })
}
