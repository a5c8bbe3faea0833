package cli

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"lorikeet/compute"
	"lorikeet/lora"
	"lorikeet/server"
	"lorikeet/server/engine"
)

// fakeMachine runs until it is told why to stop.
type fakeMachine struct {
	server.Engine // what is not asked of it
	number        int
	fail          chan error
	closed        bool
	closeErr      error
}

func (m *fakeMachine) Run(ctx context.Context) error {
	select {
	case err := <-m.fail:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (m *fakeMachine) Close() error {
	m.closed = true
	return m.closeErr
}

func (m *fakeMachine) Submit(context.Context, []engine.Request) ([]server.Stream, error) {
	return nil, nil
}
func (m *fakeMachine) Ready() error { return nil }
func (m *fakeMachine) Flush() error { return nil }
func (m *fakeMachine) Stats() engine.Stats {
	return engine.Stats{Running: 3, TotalTokens: 100 + m.number, HostAdapters: lora.Held{Adapters: 1, Bytes: 5}}
}
func (m *fakeMachine) Adapters() []server.Adapter    { return []server.Adapter{{Name: "kept"}} }
func (m *fakeMachine) KnowsAdapter(name string) bool { return name == "kept" }

// factory opens fake machines, or fails as often as it is told to.
type factory struct {
	opened   []*fakeMachine
	at       []time.Duration // since start, of every attempt
	failures int
	start    time.Time
	gate     chan struct{} // nil: open at once
}

func (f *factory) open(ctx context.Context) (machine, error) {
	f.at = append(f.at, time.Since(f.start))
	if f.gate != nil {
		select {
		case <-f.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if f.failures > 0 {
		f.failures--
		return nil, errors.New("no device")
	}
	m := &fakeMachine{number: len(f.opened), fail: make(chan error, 1)}
	f.opened = append(f.opened, m)
	return m, nil
}

// supervise starts a supervisor in a bubble.
func supervise(t *testing.T, f *factory) (s *supervisor, stop func(), ended chan error) {
	f.start = time.Now()
	s = &supervisor{open: f.open}
	require.NoError(t, s.start(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	ended = make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	synctest.Wait()
	return s, cancel, ended
}

var errLost = fmt.Errorf("engine: step of 2 runs: %w", compute.ErrDeviceLost)

func TestALostDeviceIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &factory{}
		s, stop, ended := supervise(t, f)
		require.NoError(t, s.Ready())
		require.Equal(t, 3, s.Stats().Running)
		f.gate = make(chan struct{})
		f.opened[0].closeErr = fmt.Errorf("wait: %w", compute.ErrDeviceLost)
		f.opened[0].fail <- errLost
		synctest.Wait()

		require.True(t, f.opened[0].closed, "the lost device is closed before the next one is opened")
		require.ErrorIs(t, s.Ready(), server.ErrReopening)
		require.ErrorIs(t, s.Flush(), server.ErrReopening)
		_, err := s.Submit(t.Context(), nil)
		require.ErrorIs(t, err, server.ErrReopening)
		require.Equal(t, engine.Stats{TotalTokens: 100, HostAdapters: lora.Held{Adapters: 1, Bytes: 5}}, s.Stats(), "nothing runs, and the rest is as it was")
		require.Equal(t, []server.Adapter{{Name: "kept"}}, s.Adapters())
		require.True(t, s.KnowsAdapter("kept"))

		close(f.gate)
		synctest.Wait()
		require.NoError(t, s.Ready())
		require.Equal(t, 101, s.Stats().TotalTokens)
		_, err = s.Submit(t.Context(), nil)
		require.NoError(t, err)
		stop()
		require.NoError(t, <-ended)
		require.True(t, f.opened[1].closed)
	})
}

func TestReopeningBacksOffAndGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &factory{}
		_, _, ended := supervise(t, f)
		f.failures = 1000
		f.opened[0].fail <- errLost
		require.EqualError(t, <-ended, "the device failed 6 times in a row: no device")
		require.Equal(t, []time.Duration{0, 0, 1e9, 3e9, 7e9, 15e9, 31e9}, f.at)
	})
}

// TestADeviceThatIsLostAgainAndAgain has engines that open and then fail at once: that is no success.
func TestADeviceThatIsLostAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &factory{}
		_, _, ended := supervise(t, f)
		for i := range 1 + reopenAttempts {
			time.Sleep(provenAfter / 2)
			f.opened[i].fail <- errLost
			if i > 0 {
				time.Sleep(firstPause << (i - 1))
			}
			synctest.Wait()
		}
		require.ErrorIs(t, <-ended, compute.ErrDeviceLost)
		require.Len(t, f.opened, 1+reopenAttempts)
	})
}

func TestALossLongAfterTheLastIsANewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &factory{}
		s, stop, ended := supervise(t, f)
		for i := range 3 * reopenAttempts {
			time.Sleep(provenAfter)
			f.opened[i].fail <- errLost
			synctest.Wait()
			require.NoError(t, s.Ready(), "opened again at once")
		}
		stop()
		require.NoError(t, <-ended)
	})
}

func TestStopWhileReopening(t *testing.T) {
	for _, state := range []string{"opening", "pausing"} {
		synctest.Test(t, func(t *testing.T) {
			f := &factory{}
			_, stop, ended := supervise(t, f)
			if state == "opening" {
				f.gate = make(chan struct{})
			} else {
				f.failures = 1
			}
			f.opened[0].fail <- errLost
			synctest.Wait()
			stop()
			require.NoError(t, <-ended)
			require.Len(t, f.opened, 1)
		})
	}
}

func TestOtherFailuresEndTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &factory{}
		_, _, ended := supervise(t, f)
		f.opened[0].fail <- errors.New("engine: a bug")
		require.EqualError(t, <-ended, "engine: a bug")
		require.True(t, f.opened[0].closed)
	})
}

func TestTheFirstEngineHasOneAttempt(t *testing.T) {
	f := &factory{failures: 1, start: time.Now()}
	s := &supervisor{open: f.open}
	require.EqualError(t, s.start(t.Context()), "no device")
	require.Len(t, f.at, 1)
}
