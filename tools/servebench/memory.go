package main

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// memory is what the server's process holds over a run.
type memory struct {
	Resident samples `json:"resident"`      // of the process; with a CPU driver the pages of the pool are in it once they were used
	Heap     samples `json:"go_heap"`       // Go objects, garbage that was not collected yet included
	Live     samples `json:"go_live"`       // Go objects that the last garbage collection found in use
	Adapters samples `json:"host_adapters"` // those of them that adapters in host memory are
	Every    float64 `json:"sampled_every_s"`
}

// samples are sizes in MiB in order of time.
type samples []float64

// String is one line of a report.
func (m *memory) String() string {
	return fmt.Sprintf("the server's memory at first, after each quarter and at last, MiB: resident %s, Go heap %s, live of it %s, of that adapters %s",
		m.Resident, m.Heap, m.Live, m.Adapters)
}

// quarters divides a run.
const quarters = 4

// String is the first sample and the one at the end of each quarter.
func (s samples) String() string {
	var text []string
	for i := range quarters + 1 {
		text = append(text, fmt.Sprintf("%.1f", s[i*(len(s)-1)/quarters]))
	}
	return strings.Join(text, " / ")
}

// watchMemory samples /metrics until stop is called, which returns what it saw.
func watchMemory(ctx context.Context, c *client, every time.Duration) (stop func() (*memory, error)) {
	m := &memory{Every: every.Seconds()}
	done, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- m.watch(ctx, c, every, done) }()
	return func() (*memory, error) {
		close(done)
		err := <-ended
		return m, err
	}
}

func (m *memory) watch(ctx context.Context, c *client, every time.Duration, done <-chan struct{}) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if err := m.sample(ctx, c); err != nil {
			return fmt.Errorf("memory of the server, which needs --enable-metrics: %w", err)
		}
		select {
		case <-ticker.C:
		case <-done:
			return nil
		}
	}
}

// sample reads the gauges from Prometheus' text format.
func (m *memory) sample(ctx context.Context, c *client) error {
	response, err := c.send(ctx, "/metrics", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	gauges := map[string]*samples{
		"process_resident_memory_bytes": &m.Resident, "go_memstats_heap_alloc_bytes": &m.Heap, "go_gc_heap_live_bytes": &m.Live,
		"lorikeet:host_adapter_bytes": &m.Adapters,
	}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, _, _ := strings.Cut(lines.Text(), "{")
		name, _, _ = strings.Cut(name, " ")
		to, wanted := gauges[name]
		if !wanted {
			continue
		}
		n, err := strconv.ParseFloat(lines.Text()[strings.LastIndexByte(lines.Text(), ' ')+1:], 64)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*to = append(*to, n/(1<<20))
		delete(gauges, name)
	}
	for name := range gauges {
		return fmt.Errorf("/metrics lacks %s", name)
	}
	return lines.Err()
}
