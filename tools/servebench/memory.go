package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// memory is what the server's process holds over a run.
type memory struct {
	Resident samples `json:"resident"` // of the process, devices' host memory included
	Heap     samples `json:"go_heap"`  // live Go objects and those not collected yet
	Every    float64 `json:"sampled_every_s"`
}

// samples are sizes in MiB in order of time.
type samples []float64

// String is one line of a report.
func (m *memory) String() string {
	return fmt.Sprintf("the server's memory, first / last / most: resident %s MiB, Go heap %s MiB", m.Resident, m.Heap)
}

// String is the first, the last and the largest sample.
func (s samples) String() string {
	most := 0.0
	for _, size := range s {
		most = max(most, size)
	}
	return fmt.Sprintf("%.1f / %.1f / %.1f", s[0], s[len(s)-1], most)
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

// sample reads the two gauges from Prometheus' text format.
func (m *memory) sample(ctx context.Context, c *client) error {
	response, err := c.send(ctx, "/metrics", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	resident, heap := -1.0, -1.0
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case "process_resident_memory_bytes":
			resident, err = mebibytes(value)
		case "go_memstats_heap_alloc_bytes":
			heap, err = mebibytes(value)
		}
		if err != nil {
			return err
		}
	}
	if resident < 0 || heap < 0 {
		return errors.Join(lines.Err(), errors.New("/metrics lacks process_resident_memory_bytes or go_memstats_heap_alloc_bytes"))
	}
	m.Resident, m.Heap = append(m.Resident, resident), append(m.Heap, heap)
	return nil
}

func mebibytes(text string) (float64, error) {
	n, err := strconv.ParseFloat(text, 64)
	return n / (1 << 20), err
}
