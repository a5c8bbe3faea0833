package cli

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// slowCompiler has compiled one kernel more each time it is asked, up to all.
type slowCompiler struct{ done, all int }

func (c *slowCompiler) Compiled() (int, int) {
	c.done = min(c.done+1, c.all)
	return c.done, c.all
}

func TestReportCompiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
		defer slog.SetDefault(before)
		stop := reportCompiling(&slowCompiler{0, 3}, time.Second)
		time.Sleep(9500 * time.Millisecond)
		stop()
		require.Equal(t, 2, strings.Count(out.String(), "compiling kernels"), out.String())
		require.Contains(t, out.String(), "done=1 of=3")
		require.Contains(t, out.String(), "done=2 of=3")
	})
}
