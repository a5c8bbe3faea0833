package chat

import (
	"errors"
	"fmt"
	"strings"
)

const (
	// mostWork bounds what one rendering may do: bytes written or added up, with an expression counting as stepWork of them, and a turn
	// of a loop or a new list as turnWork.
	mostWork = 1 << 30
	stepWork = 1 << 6
	turnWork = 1 << 11
	// mostDepth bounds how many expressions and bodies of tags and macros are inside of each other: Go cannot recover from a stack that
	// overflows.
	mostDepth = 10000
)

// Each loop catches these.
var (
	errBreak    = errors.New("break")
	errContinue = errors.New("continue")
)

// scope holds the variables of a template, of one turn of a loop, or of a macro's call.
type scope struct {
	values map[string]any
	outer  *scope
}

func (s *scope) inner() *scope { return &scope{map[string]any{}, s} }

// renderer is one rendering of a template.
type renderer struct {
	out   *strings.Builder
	work  int
	depth int
}

func (r *renderer) spend(work int) error {
	r.work += work
	if r.work > mostWork {
		return fmt.Errorf("the template does too much")
	}
	return nil
}

// enter counts an expression or a body until leave is called. After an error nothing else is rendered.
func (r *renderer) enter() error {
	if r.depth++; r.depth > mostDepth {
		return fmt.Errorf("more than %d expressions, tags and macros are inside of each other", mostDepth)
	}
	return nil
}

func (r *renderer) leave() { r.depth-- }

func (r *renderer) render(list []node, s *scope) error {
	if err := r.enter(); err != nil {
		return err
	}
	defer r.leave()
	for _, n := range list {
		if err := n.render(r, s); err != nil {
			return atLine(n.line, err)
		}
	}
	return nil
}

// lineError is an error that knows its line already: the innermost one counts.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("chat template, line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

func atLine(line int, err error) error {
	var known *lineError
	if errors.As(err, &known) || errors.Is(err, errBreak) || errors.Is(err, errContinue) {
		return err
	}
	return &lineError{line, err}
}

func (r *renderer) print(value any) error {
	text, err := textOf(value)
	if err != nil {
		return err
	}
	r.out.WriteString(text)
	return r.spend(len(text))
}

// capture renders into a text.
func (r *renderer) capture(list []node, s *scope) (string, error) {
	outside := r.out
	defer func() { r.out = outside }()
	r.out = &strings.Builder{}
	err := r.render(list, s)
	return r.out.String(), err
}

func (d data) render(r *renderer, _ *scope) error { return r.print(string(d)) }

func (o output) render(r *renderer, s *scope) error {
	value, err := r.eval(o.value, s)
	if err != nil {
		return err
	}
	return r.print(value)
}

func (t ifTag) render(r *renderer, s *scope) error {
	for i, condition := range t.conditions {
		value, err := r.eval(condition, s)
		if err != nil {
			return err
		}
		if isTrue(value) {
			return r.render(t.bodies[i], s)
		}
	}
	return nil
}

func (t leaveTag) render(*renderer, *scope) error { return t.how }

func (t generationTag) render(r *renderer, s *scope) error {
	return r.render(t.body.nodes, t.body.scope(s))
}

func (t setTag) render(r *renderer, s *scope) error {
	var value any
	var err error
	if t.value == nil {
		value, err = r.capture(t.body.nodes, t.body.scope(s))
	} else {
		value, err = r.eval(t.value, s)
	}
	if err != nil {
		return err
	}
	if t.attribute == "" {
		s.values[string(t.target)] = value
		return nil
	}
	object, err := r.eval(t.target, s)
	if err != nil {
		return err
	}
	space, ok := object.(*namespace)
	if !ok {
		return fmt.Errorf("%s is a %s where only a namespace's names can be set", t.target, typeName(object))
	}
	space.values[t.attribute] = value
	return nil
}

func (t macroTag) render(r *renderer, s *scope) error {
	s.values[t.name] = t.function(r, s)
	return nil
}

// function makes a macro into a function that returns what its body prints.
func (t macroTag) function(r *renderer, s *scope) function {
	return func(a arguments) (any, error) {
		taken, err := a.take(0, t.parameters...)
		if err != nil {
			return nil, fmt.Errorf("macro %s %w", t.name, err)
		}
		call := t.body.scope(s)
		for i, name := range t.parameters {
			if call.values[name] = taken[i]; taken[i] == (absent{}) {
				call.values[name] = undefined(fmt.Sprintf("parameter '%s' was not provided", name))
			}
		}
		// Defaults see what is given for the other parameters.
		for i, name := range t.parameters {
			if taken[i] != (absent{}) || t.defaults[i] == nil {
				continue
			}
			if call.values[name], err = r.eval(t.defaults[i], call); err != nil {
				return nil, err
			}
		}
		return r.capture(t.body.nodes, call)
	}
}
