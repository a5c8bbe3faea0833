package chat

import "fmt"

func (a attributeOf) eval(r *renderer, s *scope) (any, error) {
	value, err := r.eval(a.of, s)
	if err != nil {
		return nil, err
	}
	return attribute(value, a.name)
}

func (i itemOf) eval(r *renderer, s *scope) (any, error) {
	value, key, err := r.evalBoth(i.of, i.key, s)
	if err != nil {
		return nil, err
	}
	return item(value, key)
}

func (l sliceOf) eval(r *renderer, s *scope) (any, error) {
	value, err := r.eval(l.of, s)
	if err != nil {
		return nil, err
	}
	var bounds [3]any
	for i, bound := range l.bounds {
		if bound == nil {
			continue
		}
		if bounds[i], err = r.eval(bound, s); err != nil {
			return nil, err
		}
	}
	return slice(value, bounds[0], bounds[1], bounds[2])
}

func (l argumentList) eval(r *renderer, s *scope) (arguments, error) {
	a := arguments{named: make(map[string]any, len(l.named))}
	var err error
	if a.list, err = r.evalAll(l.list, s); err != nil {
		return a, err
	}
	for i, e := range l.named {
		if a.named[l.names[i]], err = r.eval(e, s); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (c call) eval(r *renderer, s *scope) (any, error) {
	called, err := r.eval(c.of, s)
	if err != nil {
		return nil, err
	}
	if complaint, missing := called.(undefined); missing {
		return nil, fmt.Errorf("%s", string(complaint))
	}
	do, ok := called.(function)
	if !ok {
		return nil, fmt.Errorf("a %s cannot be called", typeName(called))
	}
	a, err := c.given.eval(r, s)
	if err != nil {
		return nil, err
	}
	value, err := do(a)
	if err != nil {
		return nil, err
	}
	return value, r.spendOn(value)
}

func (f filtered) eval(r *renderer, s *scope) (any, error) {
	value, err := r.eval(f.of, s)
	if err != nil {
		return nil, err
	}
	a, err := f.given.eval(r, s)
	if err != nil {
		return nil, err
	}
	if value, err = filters[f.filter](value, a); err != nil {
		return nil, fmt.Errorf("filter %s: %w", f.filter, err)
	}
	return value, r.spendOn(value)
}

func (t tested) eval(r *renderer, s *scope) (any, error) {
	value, err := r.eval(t.of, s)
	if err != nil {
		return nil, err
	}
	parameters, err := r.evalAll(t.parameters, s)
	if err != nil {
		return nil, err
	}
	holds, err := valueTests[t.test](value, parameters)
	if err != nil {
		return nil, fmt.Errorf("is %s: %w", t.test, err)
	}
	return holds, nil
}
