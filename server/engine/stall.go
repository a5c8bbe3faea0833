package engine

import (
	"fmt"
	"slices"

	"lorikeet/model"
)

// unblock sees to it that something can run in the next turn when nothing does
// now although sequences are left, without turning idly meanwhile:
//
//   - A preempted sequence leaves in the next turn.
//   - Else nothing runs, and all lanes are free. What a sequence waits for can
//     be an upload, so this waits for one to end: for that of its adapter, or
//     for one that nobody needs any more, to be evicted.
//   - Else one that a sequence was told to wait for has ended during the pass, so
//     another pass is made; and so it is once when there was none, since one that
//     nobody waits for can have held the room.
//   - Else what the sequence needs is held by adapters that are never evicted,
//     and it is refused.
func (e *Engine) unblock(busy bool) error {
	if busy || e.idle() {
		e.barren = 0
		return nil
	}
	if len(e.running) > 0 {
		return nil
	}
	if e.slots != nil {
		ended, err := e.slots.AwaitUpload()
		if err != nil {
			return fmt.Errorf("engine: upload an adapter: %w", err)
		}
		if ended || e.arriving {
			e.barren = 0
			return nil
		}
	}
	if e.barren++; e.barren == 1 {
		return nil
	}
	if at := slices.IndexFunc(e.waiting, func(q *sequence) bool { return !q.finished }); at >= 0 {
		q := e.waiting[at]
		q.refuse(fmt.Errorf("engine: no room for %d tokens, which take %d of %d pages; adapters that are pinned hold %d",
			len(q.tokens), model.PagesFor(len(q.tokens)), e.pages.Total(), e.holdings().Adapters))
	}
	return nil
}
