package tokenizer

// scratch is the working space for one word. It is reused, so that encoding a word allocates nothing.
type scratch struct {
	text    []byte      // the word, in the vocabulary's alphabet
	symbols []symbol    // its tokens so far, a doubly linked list in place
	heap    []candidate // possible merges, a binary heap with the least key on top
}

type symbol struct {
	id         int32 // -1 once merged into its left neighbour
	prev, next int32 // -1 at the ends
}

// candidate is a merge of the symbol at a position with the one behind it, as it was possible when it was pushed.
type candidate struct {
	key uint64 // rank, then position
	id  int32  // of the merged token
}

func (w *scratch) add(id int32) {
	at := int32(len(w.symbols))
	if at > 0 {
		w.symbols[at-1].next = at
	}
	w.symbols = append(w.symbols, symbol{id: id, prev: at - 1, next: -1})
}

// merge merges neighbours, lowest rank first and leftmost among equals, until no two neighbours merge.
func (w *scratch) merge(merges map[uint64]merge) {
	w.heap = w.heap[:0]
	for i := range len(w.symbols) - 1 {
		w.consider(merges, int32(i))
	}
	for len(w.heap) > 0 {
		top := w.pop()
		at := int32(uint32(top.key))
		left := &w.symbols[at]
		if left.id < 0 || left.next < 0 {
			continue
		}
		right := &w.symbols[left.next]
		// The pair may have changed since; whatever pair it is now, it must still merge into the same token.
		if m, ok := merges[pairKey(left.id, right.id)]; !ok || m.id != top.id {
			continue
		}
		left.id, right.id = top.id, -1
		left.next = right.next
		if left.next >= 0 {
			w.symbols[left.next].prev = at
			w.consider(merges, at)
		}
		if left.prev >= 0 {
			w.consider(merges, left.prev)
		}
	}
}

// consider pushes the merge of the symbol at a position with the next one, if there is such a merge.
func (w *scratch) consider(merges map[uint64]merge, at int32) {
	left := w.symbols[at]
	if m, ok := merges[pairKey(left.id, w.symbols[left.next].id)]; ok {
		w.push(candidate{uint64(m.rank)<<32 | uint64(at), m.id})
	}
}

func (w *scratch) push(c candidate) {
	h := append(w.heap, c)
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].key <= c.key {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = c
	w.heap = h
}

func (w *scratch) pop() candidate {
	h := w.heap
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	i := 0
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].key < h[child].key {
			child++
		}
		if last.key <= h[child].key {
			break
		}
		h[i] = h[child]
		i = child
	}
	if len(h) > 0 {
		h[i] = last
	}
	w.heap = h
	return top
}
