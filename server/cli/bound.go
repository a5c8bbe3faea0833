package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"lorikeet/model/chat"
	"lorikeet/model/tokenizer"
	"lorikeet/server"
	"lorikeet/server/engine"
)

// boundEngine is an engine bound to the device that it runs on.
type boundEngine struct {
	*engine.Engine
	parts   *parts
	profile string // file for the profile, if there is a profiler
}

// openNext returns what opens one engine after the other. Each writes its profile to a file of its own.
func (h *host) openNext() func(context.Context) (machine, error) {
	opened := 0
	return func(ctx context.Context) (machine, error) {
		profile := h.config.Profile
		if opened++; opened > 1 {
			profile = fmt.Sprintf("%s.%d", profile, opened)
		}
		return h.openEngine(ctx, profile)
	}
}

// openEngine opens the device and makes an engine on it.
func (h *host) openEngine(ctx context.Context, profile string) (machine, error) {
	p, err := h.assemble(ctx)
	if err != nil {
		return nil, err
	}
	return p.bind(p.model, profile), nil
}

// bind makes an engine that runs a model, which is that of the parts.
func (p *parts) bind(m engine.Model, profile string) *boundEngine {
	var slots engine.Slots
	if p.residency != nil {
		slots = p.residency
	}
	e := engine.New(engine.Config{
		Overlap: !p.config.NoOverlap, EndTokens: p.files.endTokens(), Vocab: p.files.config.VocabSize, MaxWaiting: p.config.MaxQueued,
		NoPrefixCache: p.config.NoPrefixCache,
	}, m, p.registry, slots)
	return &boundEngine{Engine: e, parts: p, profile: profile}
}

// Run is the step loop. It returns nil when ctx ends.
func (e *boundEngine) Run(ctx context.Context) error {
	if err := e.Engine.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Close writes the profile and frees everything on the device.
func (e *boundEngine) Close() error {
	return errors.Join(e.parts.writeProfile(e.profile), e.parts.close())
}

// Submit lets the server see only what it needs of a stream.
func (e *boundEngine) Submit(ctx context.Context, requests []engine.Request) ([]server.Stream, error) {
	streams, err := e.Engine.Submit(ctx, requests)
	if err != nil {
		return nil, err
	}
	out := make([]server.Stream, len(streams))
	for i, s := range streams {
		out[i] = s
	}
	return out, nil
}

// Adapters lists the registered adapters in order of loading.
func (e *boundEngine) Adapters() []server.Adapter {
	var all []server.Adapter
	for _, l := range e.Engine.Adapters() {
		all = append(all, server.Adapter{Name: l.Name, Path: l.Path})
	}
	return all
}

// templateOf lets the server see only what it needs of a chat template, or why that could not be read.
type templateOf struct {
	template *chat.Template
	unread   error
}

func (t *templateOf) Render(messages []json.RawMessage, variables map[string]json.RawMessage) (string, error) {
	if t.unread != nil {
		return "", t.unread
	}
	return t.template.Render(chat.Conversation{Messages: messages, Variables: variables, AddGenerationPrompt: true})
}

// tokenizerOf lets the server see only what it needs of a decoder.
type tokenizerOf struct{ *tokenizer.Tokenizer }

func (t tokenizerOf) NewDecoder(skipSpecial bool) server.Decoder {
	return t.Tokenizer.NewDecoder(skipSpecial)
}
