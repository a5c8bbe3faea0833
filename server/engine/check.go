package engine

import "fmt"

// check says what is wrong with the engine's books when no sequence is left:
// everything that was handed out must be back.
func (e *Engine) check() error {
	if len(e.lanes) != e.limits.Lanes {
		return fmt.Errorf("engine: %d of %d lanes are free with nothing running", len(e.lanes), e.limits.Lanes)
	}
	if held := e.adapterPages(); e.pages.Free()+held != e.pages.Total() {
		return fmt.Errorf("engine: %d of %d pages are free with nothing running, adapters hold %d", e.pages.Free(), e.pages.Total(), held)
	}
	if err := e.pages.Check(); err != nil {
		return err
	}
	if e.slots == nil {
		return nil
	}
	return e.slots.Check()
}
