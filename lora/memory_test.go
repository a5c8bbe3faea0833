package lora

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
)

// testMemory is a page pool of several buffers.
type testMemory struct {
	t       testing.TB
	buffers []*compute.Buffer
	page    int64
	each    int // pages of a buffer
	used    []bool
}

const testPage = 1024

// newTestMemory makes a pool of buffers of so many pages each.
func newTestMemory(t testing.TB, d *compute.Device, buffers, each int) *testMemory {
	m := &testMemory{t: t, page: testPage, each: each, used: make([]bool, buffers*each)}
	for range buffers {
		b, err := d.Allocate(int64(each)*m.page, compute.Private)
		require.NoError(t, err)
		t.Cleanup(b.Release)
		m.buffers = append(m.buffers, b)
	}
	return m
}

func (m *testMemory) PageBytes() int64 { return m.page }

func (m *testMemory) TakeRun(n int) (int32, bool) {
	free := 0
	for page := range m.used {
		if page%m.each == 0 {
			free = 0
		}
		free++
		if m.used[page] {
			free = 0
		}
		if free == n {
			for i := range n {
				m.used[page-i] = true
			}
			return int32(page - n + 1), true
		}
	}
	return 0, false
}

func (m *testMemory) GiveRun(first int32, n int) {
	for page := first; page < first+int32(n); page++ {
		if !m.used[page] {
			panic(fmt.Sprintf("page %d is given back twice", page))
		}
		m.used[page] = false
	}
}

func (m *testMemory) Span(first int32, n int) compute.Span {
	require.Equal(m.t, int(first)/m.each, (int(first)+n-1)/m.each, "pages %d to %d are of two buffers", first, int(first)+n-1)
	return m.buffers[int(first)/m.each].All().Slice(int64(int(first)%m.each)*m.page, int64(n)*m.page)
}

// free counts the free pages.
func (m *testMemory) free() int {
	n := 0
	for _, used := range m.used {
		if !used {
			n++
		}
	}
	return n
}
