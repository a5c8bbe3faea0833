package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"lorikeet/server"
)

// grace is how long running requests may go on after the process was told to stop.
const grace = 30 * time.Second

func serveCommand(env Env) *cobra.Command {
	command := &cobra.Command{Use: "serve", Short: "Serve a model over HTTP", Args: flagsOnly}
	v := addFlags(command.Flags())
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := v.finish(cmd.Flags())
		if err != nil {
			return err
		}
		if !cmd.Flags().Changed("random-seed") {
			c.RandomSeed = rand.Uint64()
		}
		return serve(cmd.Context(), &c, env)
	}
	return command
}

// machine is a model on a device with the engine that runs it: what build makes of a Config.
type machine struct {
	engine    server.Engine
	tokenizer server.Tokenizer
	server    server.Config               // what the model and its pool decide; serve adds the rest
	run       func(context.Context) error // the step loop; returns nil when its context ends
	close     func() error                // after run
}

// serve listens, builds the machine, and answers requests until ctx ends or the engine fails. While it builds, every
// request is answered 503.
func serve(ctx context.Context, c *Config, env Env) error {
	log := slog.New(slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: c.level()}))
	slog.SetDefault(log)
	listener, err := listen(ctx, c.Host, c.Port)
	if err != nil {
		return err
	}
	if len(c.Inert) > 0 {
		log.Info("these flags change nothing here", "flags", c.Inert)
	}
	var gate server.Gate
	// The engine outlives the listener, so that requests can end by themselves.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	serving, drain := context.WithCancelCause(ctx)
	defer drain(nil)
	var group errgroup.Group
	group.Go(func() error {
		defer stop()
		return server.Serve(serving, listener, &gate, grace)
	})
	group.Go(func() error {
		err := operate(ctx, running, c, env, &gate, listener.Addr())
		drain(err)
		return err
	})
	return group.Wait()
}

// operate builds the machine, opens the gate and runs the engine until running ends. When ctx ends the gate lets no
// new work through.
func operate(ctx, running context.Context, c *Config, env Env, gate *server.Gate, address net.Addr) error {
	start := time.Now()
	m, err := build(ctx, c, env)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while starting
		}
		return err
	}
	config := m.server
	config.ServedName, config.APIKey, config.RandomSeed = c.ServedName, c.APIKey, c.RandomSeed
	config.EnableLoRA = c.EnableLoRA
	config.AllowAutoTruncate, config.Arguments, config.Version = c.AutoTruncate, c.Arguments, version()
	s := server.New(config, m.engine, m.tokenizer)
	defer context.AfterFunc(ctx, func() {
		slog.Info("stopping: running requests may end", "within", grace)
		s.Drain()
	})()
	gate.Open(s)
	slog.Info("ready", "url", "http://"+address.String(), "model", config.ModelPath, "seconds", time.Since(start).Seconds())
	err = m.run(running)
	return errors.Join(err, m.close())
}

// listen takes the port before anything slow happens.
func listen(ctx context.Context, host string, port int) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("port %d of %s is in use; choose another with --port, or stop what listens there", port, host)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("port %d of %s may not be used by this user; choose one above 1023 with --port", port, host)
	case err != nil:
		return nil, fmt.Errorf("listen on --host %s --port %d: %w", host, port, err)
	}
	return l, nil
}
