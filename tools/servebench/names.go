package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// directory knows which folder each adapter's name stands for, and stood for when.
type directory struct {
	names   []string
	folders []string
	mu      sync.Mutex
	tenures [][]tenure // by name
}

// tenure is a time in which a name could stand for a folder. The old folder's ends when the new one is loaded, and the
// new one's begins when its load is asked for: in between a request may get either.
type tenure struct {
	folder   int
	from, to time.Time
}

var forever = time.Unix(math.MaxInt32, 0)

// newDirectory names n adapters and gives name i folder i mod len(folders).
func newDirectory(n int, folders []string) *directory {
	d := &directory{folders: folders}
	for i := range n {
		d.names = append(d.names, fmt.Sprintf("adapter-%04d", i))
		d.tenures = append(d.tenures, []tenure{{folder: i % len(folders), to: forever}})
	}
	return d
}

// registerStreams is how many adapters are loaded at a time.
const registerStreams = 8

// register loads the adapters that the server does not know yet, and notes where it has the others from.
func (d *directory) register(ctx context.Context, c *client) error {
	known, err := c.registered(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(registerStreams)
	for i, name := range d.names {
		tenure := &d.tenures[i][0]
		if path, ok := known[name]; ok {
			if tenure.folder = slices.Index(d.folders, path); tenure.folder < 0 {
				return fmt.Errorf("the server has %s from %s, which is not among the folders", name, path)
			}
			continue
		}
		group.Go(func() error {
			if err := c.load(ctx, name, d.folders[tenure.folder]); err != nil {
				return fmt.Errorf("load %s: %w", name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// unregister unloads every adapter.
func (d *directory) unregister(ctx context.Context, c *client) error {
	known, err := c.registered(ctx)
	if err != nil {
		return err
	}
	for _, name := range d.names {
		if _, ok := known[name]; !ok {
			continue
		}
		if err := c.unload(ctx, name); err != nil {
			return fmt.Errorf("unload %s: %w", name, err)
		}
	}
	return nil
}

// onFrom is the folder that comes so many after the one that a name stands for.
func (d *directory) onFrom(name, by int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := slices.IndexFunc(d.tenures[name], func(t tenure) bool { return t.to == forever })
	return (d.tenures[name][at].folder + by) % len(d.folders)
}

// begin notes that a name may stand for another folder from now on. What it returns notes at the end of the load
// whether it does.
func (d *directory) begin(name, folder int) (end func(loaded bool)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := append(d.tenures[name], tenure{folder, time.Now(), forever})
	d.tenures[name] = list
	is, was := len(list)-1, len(list)-2
	for list[was].to != forever {
		was--
	}
	return func(loaded bool) {
		d.mu.Lock()
		defer d.mu.Unlock()
		over := is
		if loaded {
			over = was
		}
		d.tenures[name][over].to = time.Now()
	}
}

// between lists the folders that a name could stand for between two times.
func (d *directory) between(name int, from, to time.Time) []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []int
	for _, t := range d.tenures[name] {
		if !t.to.Before(from) && !t.from.After(to) && !slices.Contains(list, t.folder) {
			list = append(list, t.folder)
		}
	}
	return list
}
