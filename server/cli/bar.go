package cli

import (
	"io"
	"os"
	"sync"

	"github.com/schollz/progressbar/v3"
)

// bar shows how much of the weights has arrived, on a terminal. Its methods may be called from several goroutines.
type bar struct {
	out  io.Writer // nil: not a terminal
	mu   sync.Mutex
	line *progressbar.ProgressBar
}

func newBar(out io.Writer) *bar {
	file, ok := out.(*os.File)
	if !ok {
		return new(bar)
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return new(bar)
	}
	return &bar{out: out}
}

// advance says that so many bytes of total have arrived.
func (b *bar) advance(arrived, total int64) {
	if b.out == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.line == nil {
		b.line = progressbar.NewOptions64(total, progressbar.OptionSetWriter(b.out), progressbar.OptionSetDescription("weights"),
			progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish())
	}
	_ = b.line.Set64(max(arrived, b.line.State().CurrentNum)) // a terminal that does not take it only shows less
}

func (b *bar) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.line != nil {
		_ = b.line.Finish()
	}
}
