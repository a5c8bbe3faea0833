package lora

import (
	"container/list"
	"maps"
	"slices"
)

// maxNames is how many names are remembered of those whose adapter was evicted, and of those that were unloaded. It is
// many times the adapters that a host has room for, and bounds what clients that make up new names can take: a kind takes
// 16 MiB where names and paths are short.
const maxNames = 1 << 16

// maxNameBytes is the longest name of an adapter.
const maxNameBytes = 1 << 10

// source is where an adapter comes from.
type source struct {
	path   string
	pinned bool
}

// names remembers where each name's adapter came from, so that a request can have it loaded again. Beyond maxNames of a
// kind, the name that lost its adapter first is forgotten, as if it had never been loaded.
type names struct {
	records map[string]*record
	// Those without an adapter, the one that lost it first in front. They are bounded apart, so that names that clients are
	// done with never displace those that they count on.
	evicted, unloaded *list.List
}

// record is what is remembered of a name.
type record struct {
	source
	name     string
	unloaded bool       // by a client, since one last loaded it: requests may have had it loaded again
	in       *list.List // evicted or unloaded; nil: there is an adapter
	at       *list.Element
}

func newNames() names {
	return names{records: map[string]*record{}, evicted: list.New(), unloaded: list.New()}
}

// found notes that a name has an adapter. Its record may be a new one, or have been forgotten meanwhile.
func (n *names) found(r *record) {
	if was := n.records[r.name]; was != nil {
		was.leave()
	}
	r.leave()
	n.records[r.name] = r
}

// lost notes that a name has lost its adapter, and forgets who has been without for longest.
func (n *names) lost(r *record) {
	r.leave()
	to := n.evicted
	if r.unloaded {
		to = n.unloaded
	}
	r.in, r.at = to, to.PushBack(r)
	if to.Len() > maxNames {
		oldest := to.Front().Value.(*record)
		oldest.leave()
		delete(n.records, oldest.name)
	}
}

// leave takes a record out of its list.
func (r *record) leave() {
	if r.in != nil {
		r.in.Remove(r.at)
		r.in, r.at = nil, nil
	}
}

// some lists a few of the names in order: there may be too many for a message.
func (n *names) some() []string {
	var list []string
	for name := range maps.Keys(n.records) {
		if list = append(list, name); len(list) > maxListed {
			break
		}
	}
	slices.Sort(list)
	return list
}
