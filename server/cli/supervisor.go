package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"lorikeet/compute"
	"lorikeet/server"
	"lorikeet/server/engine"
)

// machine is an engine on an open device.
type machine interface {
	server.Engine
	Run(context.Context) error // the step loop; nil when its context ends
	Close() error              // frees the device; after Run
}

const (
	// reopenAttempts is how often a lost device is tried in a row before the server gives up.
	reopenAttempts = 6
	// firstPause is how long the second attempt waits, after which it doubles: a GPU that is reset takes seconds to come back.
	firstPause = time.Second
	// provenAfter is how long an engine must have run for its loss to be a new misfortune and not the last one again.
	provenAfter = time.Minute
)

// supervisor is the engine that the server sees. It outlives devices: when one is lost, the requests on it have failed,
// and the next engine is opened on the same registry, so that adapters keep their names. Its run owns the machine and is
// the only one to open and to close it; other goroutines get the machine under the lock, and an engine that has stopped
// refuses what comes late.
type supervisor struct {
	open func(context.Context) (machine, error)

	mu      sync.Mutex
	machine machine // the latest; never nil after start
	serving bool    // machine takes requests
}

// start opens the first engine. What keeps it from opening is not tried again: most likely it is the command line.
func (s *supervisor) start(ctx context.Context) error {
	m, err := s.open(ctx)
	if err == nil {
		s.use(m)
	}
	return err
}

// run runs engines, one after the other, until ctx ends, one fails for another reason than its device, or the device
// cannot be opened any more.
func (s *supervisor) run(ctx context.Context) error {
	for attempts := 0; ; {
		began := time.Now()
		err := s.machine.Run(ctx)
		s.rest()
		closed := s.machine.Close()
		if !deviceFailed(err) {
			return errors.Join(err, closed)
		}
		slog.Error("the device failed: its requests were ended, and the engine is opened again", "error", err)
		if closed != nil && !deviceFailed(closed) {
			slog.Warn("closing the failed device", "error", closed)
		}
		if time.Since(began) >= provenAfter {
			attempts = 0
		}
		if err := s.reopen(ctx, &attempts, err); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// deviceFailed says whether another engine on the same device may work: it is gone, or has no memory for what the driver
// wanted in the middle of a step.
func deviceFailed(err error) bool {
	return errors.Is(err, compute.ErrDeviceLost) || errors.Is(err, compute.ErrOutOfMemory)
}

// reopen opens the next engine. When ctx ends it returns nil without one.
func (s *supervisor) reopen(ctx context.Context, attempts *int, cause error) error {
	for *attempts < reopenAttempts {
		if !pause(ctx, *attempts) {
			return nil
		}
		*attempts++
		m, err := s.open(ctx)
		if err == nil {
			s.use(m)
			slog.Info("the engine was opened again", "attempt", *attempts)
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		cause = err
		slog.Error("the engine could not be opened again", "attempt", *attempts, "of", reopenAttempts, "error", err)
	}
	return fmt.Errorf("the device failed %d times in a row: %w", reopenAttempts, cause)
}

// pause waits before the attempt that follows so many others. It says false when ctx ended.
func pause(ctx context.Context, attempts int) bool {
	if attempts == 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(firstPause << (attempts - 1)):
		return true
	}
}

func (s *supervisor) use(m machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machine, s.serving = m, true
}

func (s *supervisor) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving = false
}

// latest is the latest engine and why it takes no requests, if it does not.
func (s *supervisor) latest() (machine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.serving {
		return s.machine, server.ErrReopening
	}
	return s.machine, nil
}

// Submit queues requests on the engine that runs.
func (s *supervisor) Submit(ctx context.Context, requests []engine.Request) ([]server.Stream, error) {
	m, err := s.latest()
	if err != nil {
		return nil, err
	}
	return m.Submit(ctx, requests)
}

// Flush empties the prefix cache of the engine that runs.
func (s *supervisor) Flush() error {
	m, err := s.latest()
	if err != nil {
		return err
	}
	return m.Flush()
}

// Ready says why no requests are taken, or nil.
func (s *supervisor) Ready() error {
	m, err := s.latest()
	if err != nil {
		return err
	}
	return m.Ready()
}

// Stats is the state of the engine that runs. Between two engines nothing runs; the pool and steps have the sizes that they had, and the
// host its adapters.
func (s *supervisor) Stats() engine.Stats {
	m, err := s.latest()
	stats := m.Stats()
	if err != nil {
		return engine.Stats{
			TotalTokens: stats.TotalTokens, MaxRunning: stats.MaxRunning, StepTokens: stats.StepTokens, HostAdapters: stats.HostAdapters,
		}
	}
	return stats
}

// Adapters belong to the registry, which all engines share: they come, go and are listed whether or not a device is there.

func (s *supervisor) LoadAdapter(ctx context.Context, name, path string, pinned bool) error {
	m, _ := s.latest()
	return m.LoadAdapter(ctx, name, path, pinned)
}

func (s *supervisor) ReplaceAdapter(ctx context.Context, name, path string, pinned bool) error {
	m, _ := s.latest()
	return m.ReplaceAdapter(ctx, name, path, pinned)
}

func (s *supervisor) UnloadAdapter(ctx context.Context, name string) error {
	m, _ := s.latest()
	return m.UnloadAdapter(ctx, name)
}

func (s *supervisor) KnowsAdapter(name string) bool {
	m, _ := s.latest()
	return m.KnowsAdapter(name)
}

func (s *supervisor) Adapters() []server.Adapter {
	m, _ := s.latest()
	return m.Adapters()
}
