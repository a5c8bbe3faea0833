package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"lorikeet/server/engine"
)

// countingEngine has the state that a test gives it.
type countingEngine struct {
	fakeEngine
	stats engine.Stats
}

func (e *countingEngine) Stats() engine.Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

func (e *countingEngine) set(s engine.Stats) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats = s
}

func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, log := new(countingEngine), new(syncBuffer)
		e.set(engine.Stats{NewTokens: 1000, DecodeSteps: 500, PromptTokens: 90, CachedTokens: 10})
		s := New(Config{LogInterval: 40, Logger: slog.New(slog.NewJSONHandler(log, nil))}, e, nil)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Watch(ctx)
		}()
		synctest.Wait()
		second := func(stats engine.Stats) (pace, string) {
			t.Helper()
			e.set(stats)
			before := len(log.String())
			time.Sleep(time.Second)
			synctest.Wait()
			return s.pulse.pace(), log.String()[before:]
		}

		at, line := second(engine.Stats{NewTokens: 1060, DecodeSteps: 530, PromptTokens: 190, CachedTokens: 60})
		require.Equal(t, pace{tokensPerSecond: 60, busy: 60, hitRate: 0.5}, at)
		require.Empty(t, line, "30 steps are not 40")
		at, line = second(engine.Stats{Running: 3, Waiting: 2, UsedTokens: 64, TotalTokens: 256, Pages: engine.Holdings{Running: 4, Cached: 3, Adapters: 2, Free: 7},
			NewTokens: 1080, DecodeSteps: 540, PromptTokens: 190, CachedTokens: 60})
		require.Equal(t, pace{tokensPerSecond: 20, busy: 20, hitRate: 0.5}, at)
		var said map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &said))
		delete(said, "time")
		require.Equal(t, map[string]any{
			"level": "INFO", "msg": "decode", "running": 3.0, "queued": 2.0, "tokens": 64.0, "token_usage": 0.25, "tokens_per_second": 20.0,
			"cache_hit_rate": 0.5, "pages_running": 4.0, "pages_cached": 3.0, "pages_adapters": 2.0, "pages_free": 7.0,
		}, said)

		at, line = second(engine.Stats{NewTokens: 1080, DecodeSteps: 540, PromptTokens: 190, CachedTokens: 60})
		require.Equal(t, pace{tokensPerSecond: 0, busy: 20, hitRate: 0.5}, at)
		require.Empty(t, line)
		at, line = second(engine.Stats{NewTokens: 45, DecodeSteps: 41})
		require.Equal(t, 45.0, at.tokensPerSecond, "an engine that was opened again counts from zero")
		require.Equal(t, 1, strings.Count(line, "\n"))
		stop()
		<-ended
	})
}
