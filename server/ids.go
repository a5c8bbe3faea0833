package server

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// maxID is the longest name of an answer, in bytes: every event and the log have it. Names of cached prefixes are no longer, either.
const maxID = 1 << 10

// takeIDs names every answer: all answers to prompt 0 first, then those to prompt 1.
func (g *generation) takeIDs(b *body, size int) error {
	total := size * g.n
	switch {
	case !b.rid.set:
		for range total {
			g.ids = append(g.ids, newID())
		}
	case !b.rid.list && total == 1:
		g.ids = b.rid.values
	case !b.rid.list:
		for i := range total {
			g.ids = append(g.ids, b.rid.values[0]+"_"+strconv.Itoa(i))
		}
	case len(b.rid.values) != size:
		return invalid("The specified rids length mismatch with the batch_size for batch processing.")
	case g.n == 1:
		g.ids = b.rid.values
	default:
		for _, id := range b.rid.values {
			for i := range g.n {
				g.ids = append(g.ids, id+"_"+strconv.Itoa(i))
			}
		}
	}
	seen := make(map[string]bool, len(g.ids))
	var twice []string
	for _, id := range g.ids {
		if len(id) > maxID {
			return invalid("rid must be at most %d bytes long, got %d.", maxID, len(id))
		}
		if seen[id] && !slices.Contains(twice, id) {
			twice = append(twice, id)
		}
		seen[id] = true
	}
	if len(twice) > 0 {
		return invalid("Duplicate request IDs detected within the request: %s", pythonList(twice))
	}
	return nil
}

// newID is 32 random hex digits.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// pythonList prints strings as SGLang's messages do: ['a', 'b'].
func pythonList(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = "'" + item + "'"
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
