package chat

import (
	"errors"
	"fmt"
)

func (t forTag) render(r *renderer, s *scope) error {
	value, err := r.eval(t.items, s)
	if err != nil {
		return err
	}
	items, err := itemsOf(value)
	if err != nil {
		return err
	}
	if t.condition != nil {
		if items, err = t.filter(r, items, s); err != nil {
			return err
		}
	}
	// Jinja takes a loop for empty in which no turn came to its end.
	empty := true
	for i := range items {
		turn := t.body.scope(s)
		if err := t.startTurn(r, items[i], turn); err != nil {
			return err
		}
		turn.values["loop"] = &loop{items, i}
		err := r.render(t.body.nodes, turn)
		if errors.Is(err, errBreak) {
			break
		}
		if err != nil && !errors.Is(err, errContinue) {
			return err
		}
		empty = empty && err != nil
	}
	if empty && t.empty != nil {
		return r.render(t.empty.nodes, t.empty.scope(s))
	}
	return nil
}

func (t forTag) filter(r *renderer, items []any, s *scope) ([]any, error) {
	var kept []any
	for _, item := range items {
		turn := s.inner()
		if err := t.startTurn(r, item, turn); err != nil {
			return nil, err
		}
		passes, err := r.eval(t.condition, turn)
		if err != nil {
			return nil, err
		}
		if isTrue(passes) {
			kept = append(kept, item)
		}
	}
	return kept, nil
}

// startTurn sets the loop's names to an item or, where there are more of them, to the item's parts.
func (t forTag) startTurn(r *renderer, item any, s *scope) error {
	parts := []any{item}
	if len(t.names) > 1 {
		var err error
		if parts, err = itemsOf(item); err != nil {
			return err
		}
		if len(parts) != len(t.names) {
			return fmt.Errorf("an item has %d parts where the loop has %d names", len(parts), len(t.names))
		}
	}
	for i, name := range t.names {
		s.values[name] = parts[i]
	}
	return r.spend(turnWork)
}
