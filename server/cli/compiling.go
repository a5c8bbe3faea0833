package cli

import (
	"log/slog"
	"time"
)

// compiler compiles kernels beside other work.
type compiler interface{ Compiled() (done, all int) }

// reportCompiling logs every so often how many kernels are compiled, while some are not. stop ends it and returns when it has ended.
func reportCompiling(c compiler, every time.Duration) (stop func()) {
	leave, left := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(left)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-leave:
				return
			case <-ticker.C:
				if done, all := c.Compiled(); done < all {
					slog.Info("compiling kernels, once for each driver", "done", done, "of", all)
				}
			}
		}
	}()
	return func() {
		close(leave)
		<-left
	}
}
