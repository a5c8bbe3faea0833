package chat

import (
	"fmt"
	"slices"
)

func (r *renderer) eval(e expression, s *scope) (any, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.leave()
	if err := r.spend(stepWork); err != nil {
		return nil, err
	}
	return e.eval(r, s)
}

// evalAll makes a list of values. It counts as a turn of a loop, lest lists inside of lists become too deep to go through.
func (r *renderer) evalAll(list []expression, s *scope) ([]any, error) {
	values := make([]any, len(list))
	for i, e := range list {
		var err error
		if values[i], err = r.eval(e, s); err != nil {
			return nil, err
		}
	}
	return values, r.spend(turnWork)
}

// evalBoth returns the values of two expressions that are evaluated in this order.
func (r *renderer) evalBoth(first, second expression, s *scope) (any, any, error) {
	one, err := r.eval(first, s)
	if err != nil {
		return nil, nil, err
	}
	two, err := r.eval(second, s)
	return one, two, err
}

// spendOn counts a value that was made.
func (r *renderer) spendOn(value any) error {
	switch value := value.(type) {
	case string:
		return r.spend(len(value))
	case []any:
		return r.spend(16 * len(value))
	case view: // a range takes long to make
		return r.spend(256 * len(value))
	}
	return nil
}

func (c constant) eval(*renderer, *scope) (any, error) { return c.value, nil }

// unsupported are names that mean something in Jinja and nothing here.
var unsupported = []string{"caller", "cycler", "dict", "joiner", "kwargs", "lipsum", "self", "varargs"}

func (n name) eval(_ *renderer, s *scope) (any, error) {
	for ; s != nil; s = s.outer {
		if value, ok := s.values[string(n)]; ok {
			return value, nil
		}
	}
	if slices.Contains(unsupported, string(n)) {
		return nil, fmt.Errorf("%s is not supported", n)
	}
	return undefined(fmt.Sprintf("'%s' is undefined", n)), nil
}

func (l listOf) eval(r *renderer, s *scope) (any, error) { return r.evalAll(l, s) }

func (t tupleOf) eval(r *renderer, s *scope) (any, error) {
	items, err := r.evalAll(t, s)
	return tuple(items), err
}

func (d dictOf) eval(r *renderer, s *scope) (any, error) {
	made := newDict()
	for i := range d.keys {
		key, value, err := r.evalBoth(d.keys[i], d.values[i], s)
		if err != nil {
			return nil, err
		}
		switch key.(type) {
		case string, int:
			made.set(key, value)
		default:
			return nil, fmt.Errorf("a %s is not supported as a key", typeName(key))
		}
	}
	return made, r.spend(turnWork)
}

func (c choice) eval(r *renderer, s *scope) (any, error) {
	holds, err := r.eval(c.condition, s)
	switch {
	case err != nil:
		return nil, err
	case isTrue(holds):
		return r.eval(c.then, s)
	case c.otherwise == nil:
		return undefined("the condition does not hold and there is no else"), nil
	}
	return r.eval(c.otherwise, s)
}

func (e either) eval(r *renderer, s *scope) (any, error) {
	left, err := r.eval(e.left, s)
	if err != nil || isTrue(left) {
		return left, err
	}
	return r.eval(e.right, s)
}

func (b both) eval(r *renderer, s *scope) (any, error) {
	left, err := r.eval(b.left, s)
	if err != nil || !isTrue(left) {
		return left, err
	}
	return r.eval(b.right, s)
}

func (n not) eval(r *renderer, s *scope) (any, error) {
	value, err := r.eval(n.of, s)
	return !isTrue(value), err
}

func (n signed) eval(r *renderer, s *scope) (any, error) {
	value, err := r.eval(n.of, s)
	if err != nil {
		return nil, err
	}
	if i, ok := integer(value); ok {
		return n.sign * i, nil
	}
	if f, ok := float(value); ok {
		return float64(n.sign) * f, nil
	}
	return nil, fmt.Errorf("a %s has no sign", typeName(value))
}

func (c comparison) eval(r *renderer, s *scope) (any, error) {
	left, err := r.eval(c.first, s)
	if err != nil {
		return nil, err
	}
	for _, link := range c.links {
		right, err := r.eval(link.operand, s)
		if err != nil {
			return nil, err
		}
		if holds, err := operate(link.operator, left, right); err != nil || holds == false {
			return false, err
		}
		left = right
	}
	return true, nil
}

func (o operation) eval(r *renderer, s *scope) (any, error) {
	left, right, err := r.evalBoth(o.left, o.right, s)
	if err != nil {
		return nil, err
	}
	value, err := operate(o.operator, left, right)
	if err != nil {
		return nil, err
	}
	return value, r.spendOn(value)
}
