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
		delay(told, serving, 5*time.Second)
		require.Equal(t, time.Hour+5*time.Second, time.Since(start))
	})
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
			delay(told, serving, time.Hour)
			require.Equal(t, time.Second, time.Since(start))
		})
	}
}
