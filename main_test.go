package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// send sends this process a signal. To die of it fails the test.
func send(t *testing.T, s syscall.Signal) {
	t.Helper()
	require.NoError(t, syscall.Kill(os.Getpid(), s))
}

func TestATerminalThatClosesStops(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("the tests run under nohup")
	}
	defer signal.Reset()
	ctx := untilTold()
	require.NoError(t, ctx.Err())
	send(t, syscall.SIGHUP)
	<-ctx.Done()
	send(t, syscall.SIGHUP) // of the shell, then of the kernel
	require.True(t, signal.Ignored(syscall.SIGPIPE), "the log's reader may be gone")
}

func TestNohup(t *testing.T) {
	defer signal.Reset()
	signal.Ignore(syscall.SIGHUP)
	ctx := untilTold()
	send(t, syscall.SIGHUP)
	require.True(t, signal.Ignored(syscall.SIGHUP))
	require.NoError(t, ctx.Err())
	send(t, syscall.SIGTERM)
	<-ctx.Done()
	require.ErrorIs(t, ctx.Err(), context.Canceled)
}
