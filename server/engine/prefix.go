package engine

import (
	"container/heap"
	"fmt"

	"lorikeet/model"
)

// pageKey is the tokens of one page.
type pageKey [model.PageTokens]int32

// prefix is a page that holds the keys and values of the last PageTokens tokens
// of a prefix: those of its ancestors' pages, then its own.
type prefix struct {
	tokens   pageKey
	page     int32
	parent   *prefix // a root: the empty prefix, which has no page
	children map[pageKey]*prefix
	users    int    // sequences whose page tables hold the page
	used     uint64 // clock when the last user left
	index    int    // among the idle leaves; -1 elsewhere
	owner    owner  // of roots only
}

// owner is who may find a prefix: requests under an adapter, whose id is 0 for
// the base model, that name the same namespace.
type owner struct {
	adapter   uint64
	namespace string
}

// prefixes is the prefix cache: for each owner a tree of whole pages, so that
// what was computed under one adapter is never found under another, nor under a
// later load of the same name, which has an id of its own.
//
// A page is in the tree only when a collected step has computed all of it, so
// that whoever finds it may read it, and nobody writes to it: rows are written
// behind the whole pages that a sequence found or computed.
//
// A prefix that a sequence uses has all its ancestors in use; so the idle
// prefixes can all be evicted, leaves first.
type prefixes struct {
	roots  map[owner]*prefix
	leaves idleLeaves
	pages  int // in the tree
	idle   int // those that no sequence uses
}

func newPrefixes() *prefixes { return &prefixes{roots: map[owner]*prefix{}} }

// longest finds the longest prefix of the tokens in whole pages, and the number
// of its pages; nil and 0 when there is none.
func (t *prefixes) longest(o owner, tokens []int32) (*prefix, int) {
	at, depth := t.roots[o], 0
	if at == nil {
		return nil, 0
	}
	for ; len(tokens) >= model.PageTokens; tokens = tokens[model.PageTokens:] {
		next := at.children[pageKey(tokens)]
		if next == nil {
			break
		}
		at, depth = next, depth+1
	}
	if depth == 0 {
		return nil, 0
	}
	return at, depth
}

// child finds the prefix that is one page longer than p, or than nothing where
// p is nil.
func (t *prefixes) child(p *prefix, o owner, tokens []int32) *prefix {
	if p == nil {
		if p = t.roots[o]; p == nil {
			return nil
		}
	}
	return p.children[pageKey(tokens)]
}

// add puts a page in the tree, as the child of p with one user, which also uses
// p.
func (t *prefixes) add(p *prefix, o owner, tokens []int32, page int32) *prefix {
	if p == nil {
		if p = t.roots[o]; p == nil {
			p = &prefix{owner: o, page: -1, index: -1}
			t.roots[o] = p
		}
	}
	if p.children == nil {
		p.children = map[pageKey]*prefix{}
	}
	c := &prefix{tokens: pageKey(tokens), page: page, parent: p, users: 1, index: -1}
	p.children[c.tokens] = c
	t.pages++
	return c
}

// use notes a user of one page; its ancestors' users are noted by their own.
func (t *prefixes) use(p *prefix) {
	if p.users == 0 {
		t.idle--
		if p.index >= 0 {
			heap.Remove(&t.leaves, p.index)
		}
	}
	p.users++
}

// leave takes a user from a prefix's page and from those of all its ancestors.
func (t *prefixes) leave(p *prefix, now uint64) {
	for ; p != nil && p.parent != nil; p = p.parent {
		p.users--
		if p.users == 0 {
			t.idle++
			p.used = now
			t.offer(p)
		}
	}
}

// offer makes a prefix one to be evicted if it is an idle leaf.
func (t *prefixes) offer(p *prefix) {
	if p.parent != nil && p.users == 0 && len(p.children) == 0 {
		heap.Push(&t.leaves, p)
	}
}

// oldest is when the leaf that evict would take was last used.
func (t *prefixes) oldest() (used uint64, ok bool) {
	if len(t.leaves) == 0 {
		return 0, false
	}
	return t.leaves[0].used, true
}

// evict takes the least recently used idle leaf out of the tree and returns its
// page. There must be one.
func (t *prefixes) evict() int32 {
	p := heap.Pop(&t.leaves).(*prefix)
	t.pages--
	t.idle--
	delete(p.parent.children, p.tokens)
	t.offer(p.parent)
	if root := p.parent; root.parent == nil && len(root.children) == 0 {
		delete(t.roots, root.owner)
	}
	return p.page
}

// drop takes an adapter's prefixes out of the tree, none of which may be in use,
// and appends their pages to list.
func (t *prefixes) drop(adapter uint64, list []int32) []int32 {
	for o, root := range t.roots {
		if o.adapter == adapter {
			delete(t.roots, o)
			list = t.dropBelow(root, list)
		}
	}
	return list
}

func (t *prefixes) dropBelow(p *prefix, list []int32) []int32 {
	for _, c := range p.children {
		if c.users > 0 {
			panic(fmt.Sprintf("engine: page %d of a dropped prefix has %d users", c.page, c.users))
		}
		if c.index >= 0 {
			heap.Remove(&t.leaves, c.index)
		}
		t.pages--
		t.idle--
		list = t.dropBelow(c, append(list, c.page))
	}
	return list
}

// clear empties the tree, which nobody may use, and appends its pages to list.
func (t *prefixes) clear(list []int32) []int32 {
	for _, root := range t.roots {
		list = t.dropBelow(root, list)
	}
	clear(t.roots)
	return list
}

// idleLeaves is a heap: the least recently used one is first.
type idleLeaves []*prefix

func (l idleLeaves) Len() int           { return len(l) }
func (l idleLeaves) Less(i, j int) bool { return l[i].used < l[j].used }

func (l idleLeaves) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].index, l[j].index = i, j
}

func (l *idleLeaves) Push(p any) {
	p.(*prefix).index = len(*l)
	*l = append(*l, p.(*prefix))
}

func (l *idleLeaves) Pop() any {
	last := len(*l) - 1
	p := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	p.index = -1
	return p
}
