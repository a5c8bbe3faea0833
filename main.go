// Command lorikeet serves a language model with many LoRA adapters on Vulkan.
package main

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"lorikeet/server/cli"
)

//go:embed testdata/demo
var demo embed.FS

func main() {
	if err := run(untilTold()); err != nil {
		fmt.Fprintln(os.Stderr, "lorikeet:", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
}

// untilTold returns a context that ends with the first signal to stop. A second one ends the process at once, but for those
// of a terminal that closes: they come more than once, and who reads the log may be gone with it.
func untilTold() context.Context {
	ctx, stop := context.WithCancel(context.Background())
	told := make(chan os.Signal, 1)
	signal.Notify(told, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(told, syscall.SIGHUP)
	}
	go func() {
		<-told
		signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
		signal.Reset(os.Interrupt, syscall.SIGTERM)
		stop()
	}()
	return ctx
}

func run(ctx context.Context) error {
	folder, err := fs.Sub(demo, "testdata/demo")
	if err != nil {
		return err
	}
	return cli.Run(ctx, os.Args[1:], cli.Env{Stdout: os.Stdout, Stderr: os.Stderr, Demo: folder})
}
