package compute

import (
	"sync"

	"lorikeet/compute/internal/native"
)

// messages keeps what the validation layer said, beyond the life of the instance.
type messages struct {
	mu     sync.Mutex
	texts  []string
	closed bool
}

func (m *messages) collect(in native.Instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drain(in)
	m.closed = true
}

func (m *messages) drain(in native.Instance) {
	for !m.closed {
		text, ok := in.Message()
		if !ok {
			return
		}
		m.texts = append(m.texts, text)
	}
}

// ValidationMessages returns what the validation layer found since the last call, oldest first. After Close it includes
// what was found while closing. It is always empty unless the device was opened with Options.Validation.
func (d *Device) ValidationMessages() []string {
	m := &d.validation
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drain(d.instance)
	texts := m.texts
	m.texts = nil
	return texts
}
