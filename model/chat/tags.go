package chat

// node is a piece of a template that prints or does something.
type node struct {
	line int
	statement
}

type statement interface {
	render(r *renderer, s *scope) error
}

type (
	// data is text outside of tags.
	data string
	// output is {{ value }}.
	output struct{ value expression }
	// ifTag is {% if %} with its {% elif %}s and {% else %}, whose condition is true.
	ifTag struct {
		conditions []expression
		bodies     [][]node
	}
	// forTag is {% for names in items if condition %} body {% else %} empty {% endfor %}.
	forTag struct {
		names     []string
		items     expression
		condition expression // nil without one
		body      *block
		empty     *block // nil without {% else %}
	}
	// setTag is {% set target = value %}, or {% set target %} body {% endset %} when value is nil.
	setTag struct {
		target    name
		attribute string // of the namespace target; "": the target itself is set
		value     expression
		body      *block
	}
	// macroTag is {% macro name(parameters) %}; defaults are nil where a parameter has none.
	macroTag struct {
		name       string
		parameters []string
		defaults   []expression
		body       *block
	}
	// leaveTag is {% break %} or {% continue %}: the error that ends the loop's body.
	leaveTag struct{ how error }
	// generationTag is {% generation %}, by which training code finds what the model said.
	generationTag struct{ body *block }
)
