package chat

import (
	"fmt"
	"strings"
)

// operate is left operator right for all operators of comparisons and operations, with Python's meaning.
func operate(operator string, left, right any) (any, error) {
	switch operator {
	case "==":
		return equal(left, right), nil
	case "!=":
		return !equal(left, right), nil
	case "in":
		return contains(right, left)
	case "not in":
		found, err := contains(right, left)
		return !found, err
	case "~":
		l, err := textOf(left)
		if err != nil {
			return nil, err
		}
		r, err := textOf(right)
		return l + r, err
	}
	for _, operand := range []any{left, right} {
		if complaint, ok := operand.(undefined); ok {
			return nil, fmt.Errorf("%s", string(complaint))
		}
	}
	var result any
	l, leftInt := integer(left)
	r, rightInt := integer(right)
	if leftInt && rightInt {
		result = operateInts(operator, l, r)
	} else if l, ok := float(left); ok {
		if r, ok := float(right); ok {
			result = operateFloats(operator, l, r)
		}
	} else {
		result = operateSequences(operator, left, right)
	}
	if result == nil {
		return nil, fmt.Errorf("%s %s %s is not supported", typeName(left), operator, typeName(right))
	}
	return result, nil
}

// integer is v as a whole number, which a bool is for Python.
func integer(v any) (int, bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

func float(v any) (float64, bool) {
	if f, ok := v.(float64); ok {
		return f, true
	}
	i, ok := integer(v)
	return float64(i), ok
}

// operateInts returns nil where there is no result.
func operateInts(operator string, l, r int) any {
	switch operator {
	case "+":
		return l + r
	case "-":
		return l - r
	case "*":
		return l * r
	case "//", "%":
		if r == 0 {
			return nil
		}
		// Python rounds down where Go rounds towards zero.
		quotient, remainder := l/r, l%r
		if remainder != 0 && (remainder < 0) != (r < 0) {
			quotient, remainder = quotient-1, remainder+r
		}
		if operator == "%" {
			return remainder
		}
		return quotient
	}
	return operateFloats(operator, float64(l), float64(r))
}

func operateFloats(operator string, l, r float64) any {
	switch operator {
	case "+":
		return l + r
	case "-":
		return l - r
	case "*":
		return l * r
	case "/":
		if r == 0 {
			return nil
		}
		return l / r
	}
	switch {
	case l < r:
		return compares(operator, -1)
	case l > r:
		return compares(operator, 1)
	}
	return compares(operator, 0)
}

func operateSequences(operator string, left, right any) any {
	switch l := left.(type) {
	case string:
		r, ok := right.(string)
		switch {
		case !ok:
			return nil
		case operator == "+":
			return l + r
		}
		return compares(operator, strings.Compare(l, r))
	case []any:
		if r, ok := right.([]any); ok && operator == "+" {
			return append(append([]any{}, l...), r...)
		}
	case tuple:
		if r, ok := right.(tuple); ok && operator == "+" {
			return append(append(tuple{}, l...), r...)
		}
	}
	return nil
}

// compares says whether left operator right holds, where order is how they compare; nil if it is no comparison.
func compares(operator string, order int) any {
	switch operator {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	case ">=":
		return order >= 0
	}
	return nil
}

func equal(left, right any) bool {
	if l, ok := float(left); ok {
		r, ok := float(right)
		return ok && l == r
	}
	switch l := left.(type) {
	case []any:
		r, ok := right.([]any)
		return ok && equalItems(l, r)
	case tuple:
		r, ok := right.(tuple)
		return ok && equalItems(l, r)
	case *dict:
		r, ok := right.(*dict)
		if !ok || len(l.keys) != len(r.keys) {
			return false
		}
		for key, value := range l.values {
			if other, ok := r.values[key]; !ok || !equal(value, other) {
				return false
			}
		}
		return true
	case undefined:
		_, ok := right.(undefined)
		return ok
	case nil, string, *namespace, *loop:
		return left == right
	}
	return false
}

func equalItems(left, right []any) bool {
	if len(left) != len(right) {
		return false
	}
	for i := range left {
		if !equal(left[i], right[i]) {
			return false
		}
	}
	return true
}

// contains is "element in container".
func contains(container, element any) (bool, error) {
	switch c := container.(type) {
	case string:
		part, ok := element.(string)
		if !ok {
			return false, fmt.Errorf("only a str can be in a str, not a %s", typeName(element))
		}
		return strings.Contains(c, part), nil
	case undefined:
		return false, nil
	case *dict:
		switch element.(type) {
		case []any, *dict:
			return false, fmt.Errorf("a %s is no key of a dict", typeName(element))
		}
	}
	items, err := itemsOf(container)
	if err != nil {
		return false, err
	}
	for _, item := range items {
		if equal(item, element) {
			return true, nil
		}
	}
	return false, nil
}
