package server

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"lorikeet/server/engine"
)

// pulsePeriod is how often the pulse is taken, and the least time between two lines about it.
const pulsePeriod = time.Second

// pulse looks at the engine every second: how fast tokens come, and what to log of it.
type pulse struct {
	engine Engine
	log    *slog.Logger
	every  uint64 // decode steps between two log lines

	mu   sync.Mutex
	last pace
}

// pace is how fast things went between two looks.
type pace struct {
	tokensPerSecond float64
	busy            float64 // tokensPerSecond when tokens last came
	hitRate         float64 // of the prompts that started last
}

func (p *pulse) pace() pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// beat takes the pulse until ctx ends.
func (p *pulse) beat(ctx context.Context) {
	ticks := time.NewTicker(pulsePeriod)
	defer ticks.Stop()
	seen, at := p.engine.Stats(), time.Now()
	steps := uint64(0) // since the last line
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		now := p.engine.Stats()
		p.note(&seen, &now, time.Since(at))
		steps += grown(seen.DecodeSteps, now.DecodeSteps)
		if steps >= p.every {
			p.say(&now)
			steps = 0
		}
		seen, at = now, time.Now()
	}
}

// note computes the pace from one look to the next.
func (p *pulse) note(before, now *engine.Stats, elapsed time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	tokens := grown(before.NewTokens, now.NewTokens)
	p.last.tokensPerSecond = float64(tokens) / elapsed.Seconds()
	if tokens > 0 {
		p.last.busy = p.last.tokensPerSecond
	}
	if prompts := grown(before.PromptTokens, now.PromptTokens); prompts > 0 {
		p.last.hitRate = float64(grown(before.CachedTokens, now.CachedTokens)) / float64(prompts)
	}
}

// grown is by how much a counter has grown. One that is smaller than before is another engine's, which counts from zero.
func grown(before, now uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

// say logs who holds the memory and how fast tokens come, as SGLang does.
func (p *pulse) say(s *engine.Stats) {
	pace := p.pace()
	p.log.Info("decode", "running", s.Running, "queued", s.Waiting, "tokens", s.UsedTokens, "token_usage", hundredths(ratio(s.UsedTokens, s.TotalTokens)),
		"tokens_per_second", hundredths(pace.tokensPerSecond), "cache_hit_rate", hundredths(pace.hitRate),
		"pages_running", s.Pages.Running, "pages_cached", s.Pages.Cached, "pages_adapters", s.Pages.Adapters, "pages_free", s.Pages.Free)
}

// hundredths rounds for a log line.
func hundredths(x float64) float64 { return math.Round(x*100) / 100 }
