package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"lorikeet/server"
)

// garbagePercent is how much garbage there may be beside what the heap holds, unless the environment has GOGC. Most of it is adapters, which
// have no pointers in them: to look through them costs little, and at Go's 100 percent the host would need twice their memory.
const garbagePercent = 25

func serveCommand(env Env) *cobra.Command {
	command := &cobra.Command{Use: "serve", Short: "Serve a model over HTTP", Args: flagsOnly}
	command.Long = command.Short + ".\n\n" + inertHelp
	v := addFlags(command.Flags())
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := v.finish(cmd.Flags())
		if err != nil {
			return err
		}
		if !cmd.Flags().Changed("random-seed") {
			c.RandomSeed = rand.Uint64N(1 << 53) // which every reader of /server_info's JSON can hold
		}
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(garbagePercent)
		}
		return serve(cmd.Context(), &c, env)
	}
	return command
}

// serve listens, opens the engine, and answers requests until ctx ends or the engine fails for good. While it opens, every
// request is answered 503.
//
// Three goroutines live as long as it does: one serves connections, one runs the engine, and one waits for ctx to end and
// then for the delay. The engine outlives the listener, so that requests can end by themselves.
func serve(ctx context.Context, c *Config, env Env) error {
	log := slog.New(slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: c.level()}))
	slog.SetDefault(log)
	if err := c.checkProfile(); err != nil {
		return err
	}
	listener, err := listen(ctx, c.Host, c.Port)
	if err != nil {
		return err
	}
	if len(c.Inert) > 0 {
		log.Info("these flags change nothing here", "flags", c.Inert)
	}
	var gate server.Gate
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	serving, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	var group errgroup.Group
	group.Go(func() error {
		defer stop()
		return server.Serve(serving, listener, &gate, seconds(c.ShutdownTimeout))
	})
	group.Go(func() error {
		defer leave()
		return operate(ctx, running, c, env, &gate, listener.Addr())
	})
	group.Go(func() error {
		defer leave()
		c.delay(ctx, serving)
		return nil
	})
	return group.Wait()
}

// delay says that ctx ended and returns --shutdown-delay later, or once the server leaves anyway.
func (c *Config) delay(ctx, serving context.Context) {
	select {
	case <-serving.Done():
	case <-ctx.Done():
	}
	if ctx.Err() == nil {
		return
	}
	slog.Info("stopping", "new_work_for_seconds", c.ShutdownDelay, "running_requests_may_end_within_seconds", c.ShutdownTimeout)
	select {
	case <-serving.Done():
	case <-time.After(seconds(c.ShutdownDelay)):
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// operate opens the engine, then the gate, and runs the engine until running ends. From the end of ctx on the server calls
// itself unhealthy.
func operate(ctx, running context.Context, c *Config, env Env, gate *server.Gate, address net.Addr) error {
	start := time.Now()
	var h *host
	var engines *supervisor
	err := interruptible(ctx, func() (err error) {
		h, engines, err = openFirst(ctx, c, env)
		return err
	})
	if err != nil && ctx.Err() != nil {
		return nil // told to stop while starting
	}
	if err != nil {
		return err
	}
	s := server.New(h.serverConfig(), engines, h.tokenizer())
	defer context.AfterFunc(ctx, s.Drain)()
	gate.Open(s)
	slog.Info("ready", "url", "http://"+address.String(), "model", h.files.name, "seconds", time.Since(start).Seconds())
	watching, rest := context.WithCancel(running)
	var watch sync.WaitGroup
	watch.Go(func() { s.Watch(watching) })
	err = engines.run(running)
	rest()
	watch.Wait()
	return errors.Join(err, h.close())
}

// openFirst opens the files, the adapters and the first engine.
func openFirst(ctx context.Context, c *Config, env Env) (*host, *supervisor, error) {
	h, err := openHost(c, env)
	if err != nil {
		return nil, nil, err
	}
	engines := &supervisor{open: h.openNext()}
	if err = h.loadAdapters(ctx); err == nil {
		err = engines.start(ctx)
	}
	if err != nil {
		err = errors.Join(err, h.close())
	}
	return h, engines, err
}

// stopPatience is how long a start that is told to stop may take for it.
const stopPatience = 2 * time.Second

// interruptible runs f. When ctx ends f has a moment to end as well and is then left behind: what it waits for, a driver that
// compiles or a long step that warms up, cannot be interrupted but ends with the process.
func interruptible(ctx context.Context, f func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(stopPatience):
		return context.Cause(ctx)
	}
}

// listen takes the port before anything slow happens.
func listen(ctx context.Context, host string, port int) (net.Listener, error) {
	network := "tcp"
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() { // 0.0.0.0 would take IPv6 as well
		network = "tcp4"
	}
	l, err := new(net.ListenConfig).Listen(ctx, network, net.JoinHostPort(host, strconv.Itoa(port)))
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
