package chat

import "fmt"

// block is a body with variables of its own: that of a loop, a macro and the like, and the whole template.
//
// Jinja decides before it renders which block a name belongs to. Where a block sets a name without having read it before, blocks
// inside of it that come earlier find it undefined, even if the conversation has a variable of that name.
type block struct {
	nodes []node
	outer *block
	names map[string]use
	// hidden are names that are undefined in the block until they are set.
	hidden []string
}

// use is what a block does first with a name.
type use int

const (
	reads use = iota
	sets
)

func newBlock(outer *block) *block { return &block{outer: outer, names: map[string]use{}} }

func (b *block) note(name string, use use) {
	if _, known := b.names[name]; !known {
		b.names[name] = use
	}
}

// hide finds out which names are hidden, after the blocks around this one have been read to their ends.
func (b *block) hide() {
	for name, use := range b.names {
		if use == sets && !b.outer.knows(name) {
			b.hidden = append(b.hidden, name)
		}
	}
}

func (b *block) knows(name string) bool {
	for ; b != nil; b = b.outer {
		if _, known := b.names[name]; known {
			return true
		}
	}
	return false
}

// scope makes the block's variables.
func (b *block) scope(outer *scope) *scope {
	s := outer.inner()
	for _, name := range b.hidden {
		s.values[name] = undefined(fmt.Sprintf("'%s' is undefined", name))
	}
	return s
}

// open begins a block in which the given names are set from the start. It is closed by close.
func (p *parser) open(names ...string) *block {
	p.block = newBlock(p.block)
	p.blocks = append(p.blocks, p.block)
	for _, name := range names {
		p.block.note(name, reads)
	}
	return p.block
}

func (p *parser) close() { p.block = p.block.outer }

// sets notes that a name is set. Under a condition it may have its value from outside as well.
func (p *parser) sets(name string) {
	if p.conditions > 0 {
		p.block.note(name, reads)
	} else {
		p.block.note(name, sets)
	}
}
