package chat

import "fmt"

// valueTests are what may stand behind "is".
var valueTests = map[string]func(v any, parameters []any) (bool, error){
	"defined":     simpleTest(func(v any) bool { return !isUndefined(v) }),
	"undefined":   simpleTest(isUndefined),
	"none":        simpleTest(func(v any) bool { return v == nil }),
	"true":        simpleTest(func(v any) bool { b, ok := v.(bool); return ok && b }),
	"false":       simpleTest(func(v any) bool { b, ok := v.(bool); return ok && !b }),
	"boolean":     simpleTest(func(v any) bool { _, ok := v.(bool); return ok }),
	"integer":     simpleTest(func(v any) bool { _, ok := v.(int); return ok }),
	"float":       simpleTest(func(v any) bool { _, ok := v.(float64); return ok }),
	"number":      simpleTest(func(v any) bool { _, ok := float(v); return ok }),
	"string":      simpleTest(func(v any) bool { _, ok := v.(string); return ok }),
	"mapping":     simpleTest(func(v any) bool { _, ok := v.(*dict); return ok }),
	"iterable":    simpleTest(isIterable),
	"sequence":    isSequence,
	"equalto":     comparesTo(func(v, other any) bool { return equal(v, other) }),
	"in":          isIn,
	"eq":          comparesTo(func(v, other any) bool { return equal(v, other) }),
	"ne":          comparesTo(func(v, other any) bool { return !equal(v, other) }),
	"odd":         divides(func(v, _ int) bool { return v%2 != 0 }, 0),
	"even":        divides(func(v, _ int) bool { return v%2 == 0 }, 0),
	"divisibleby": divides(func(v, by int) bool { return by != 0 && v%by == 0 }, 1),
}

func isUndefined(v any) bool {
	_, ok := v.(undefined)
	return ok
}

func isIterable(v any) bool {
	if _, ok := v.(*lazy); ok {
		return true
	}
	_, err := itemsOf(v)
	return err == nil
}

func isIn(v any, parameters []any) (bool, error) {
	if len(parameters) != 1 {
		return false, fmt.Errorf("the test takes one argument")
	}
	return contains(parameters[0], v)
}

// isSequence holds for dicts and what is undefined, too.
func isSequence(v any, parameters []any) (bool, error) {
	if _, ok := v.(view); ok {
		return false, fmt.Errorf("a view is one or not, depending on where it comes from; make it a list first")
	}
	return simpleTest(func(v any) bool { return isIterable(v) && isOrdered(v) })(v, parameters)
}

func simpleTest(test func(v any) bool) func(v any, parameters []any) (bool, error) {
	return func(v any, parameters []any) (bool, error) {
		if len(parameters) > 0 {
			return false, fmt.Errorf("the test takes no argument")
		}
		return test(v), nil
	}
}

func comparesTo(test func(v, other any) bool) func(v any, parameters []any) (bool, error) {
	return func(v any, parameters []any) (bool, error) {
		if len(parameters) != 1 {
			return false, fmt.Errorf("the test takes one argument")
		}
		return test(v, parameters[0]), nil
	}
}

// divides makes a test of whole numbers with the given count of arguments, one or none.
func divides(test func(v, by int) bool, count int) func(v any, parameters []any) (bool, error) {
	return func(v any, parameters []any) (bool, error) {
		number, ok := integer(v)
		by, byOK := 1, true
		if count == 1 && len(parameters) == 1 {
			by, byOK = integer(parameters[0])
		}
		if !ok || !byOK || len(parameters) != count {
			return false, fmt.Errorf("the test takes %d whole numbers", 1+count)
		}
		return test(number, by), nil
	}
}
