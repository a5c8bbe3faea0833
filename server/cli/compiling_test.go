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

// halfDone has compiled one kernel more each time it is asked, up to all.
type halfDone struct{ done, all int }

func (h *halfDone) Compiled() (int, int) {
	h.done = min(h.done+1, h.all)
	return h.done, h.all
}

func TestReportCompiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
		defer slog.SetDefault(before)
		stop := reportCompiling(&halfDone{0, 3}, time.Second)
		time.Sleep(9500 * time.Millisecond)
		stop()
		require.Equal(t, 2, strings.Count(out.String(), "compiling kernels"), out.String())
		require.Contains(t, out.String(), "done=1 of=3")
		require.Contains(t, out.String(), "done=2 of=3")
	})
}
