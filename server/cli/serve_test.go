package cli

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestShutdownDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told, tell := context.WithCancel(t.Context())
		serving, leave := context.WithCancel(t.Context())
		defer leave()
		start := time.Now()
		time.AfterFunc(time.Hour, tell)
		(&Config{ShutdownDelay: 5}).delay(told, serving)
		require.Equal(t, time.Hour+5*time.Second, time.Since(start))
	})
}

// TestAStartThatIsToldToStop has one that ends soon after it was told, one that does not, and one that was never told.
func TestAStartThatIsToldToStop(t *testing.T) {
	for _, c := range []struct{ told, takes, want time.Duration }{
		{time.Minute, time.Minute + stopPatience/2, time.Minute + stopPatience/2},
		{time.Minute, time.Hour, time.Minute + stopPatience},
		{time.Hour, time.Minute, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, tell := context.WithCancel(t.Context())
			defer tell()
			start := time.Now()
			time.AfterFunc(c.told, tell)
			err := interruptible(ctx, func() error { time.Sleep(c.takes); return ctx.Err() })
			require.Equal(t, c.want, time.Since(start))
			require.Equal(t, ctx.Err(), err)
			time.Sleep(c.takes) // what was left behind ends, too
		})
	}
}

func TestAFailureDoesNotWaitForTheDelay(t *testing.T) {
	for _, stopped := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			told, tell := context.WithCancel(t.Context())
			defer tell()
			serving, leave := context.WithCancel(t.Context())
			start := time.Now()
			if stopped {
				tell()
			}
			time.AfterFunc(time.Second, leave)
			(&Config{ShutdownDelay: 3600}).delay(told, serving)
			require.Equal(t, time.Second, time.Since(start))
		})
	}
}
