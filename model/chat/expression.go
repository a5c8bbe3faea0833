package chat

// expression is something with a value.
type expression interface {
	eval(r *renderer, s *scope) (any, error)
}

type (
	constant struct{ value any }
	name     string
	// listOf and tupleOf are [a, b] and (a, b).
	listOf  []expression
	tupleOf []expression
	dictOf  struct{ keys, values []expression }

	// choice is "then if condition else otherwise"; otherwise may be nil.
	choice struct{ then, condition, otherwise expression }
	// either is "left or right", both is "left and right".
	either struct{ left, right expression }
	both   struct{ left, right expression }
	not    struct{ of expression }
	signed struct {
		sign int // 1 or -1
		of   expression
	}
	// comparison is a chain such as a < b <= c, which holds if each link does.
	comparison struct {
		first expression
		links []link
	}
	link struct {
		operator string // "in" and "not in", too
		operand  expression
	}
	// operation is one of the operators + - * / // % ~.
	operation struct {
		operator    string
		left, right expression
	}

	attributeOf struct {
		of   expression
		name string
	}
	itemOf  struct{ of, key expression }
	sliceOf struct {
		of     expression
		bounds [3]expression // start, stop and step; nil where left out
	}
	call struct {
		of    expression
		given argumentList
	}
	filtered struct {
		of     expression
		filter string
		given  argumentList
	}
	tested struct {
		of         expression
		test       string
		parameters []expression
	}

	argumentList struct {
		list  []expression
		names []string // of the arguments in named
		named []expression
	}
)
