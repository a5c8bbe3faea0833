// Package cli is the lorikeet command: serve, doctor, plan and version. Flags have SGLang's names and manners (args.go),
// become a Config (flags.go) that obeys the start-up rules (rules.go), and wire.go builds what a Config describes.
package cli

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"runtime/debug"

	"github.com/spf13/cobra"

	"lorikeet/compute"
)

// Env is what the command needs of the process.
type Env struct {
	Stdout, Stderr io.Writer
	Demo           fs.FS // the embedded demo's folder, adapters in adapters/NAME
}

// Run runs a command line, without the program's name, until it is done or ctx ends.
func Run(ctx context.Context, args []string, env Env) error {
	root := &cobra.Command{
		Use: "lorikeet", Short: "Serve a language model with many LoRA adapters on Vulkan",
		SilenceErrors: true, SilenceUsage: true,
		DisableSuggestions: true, // they take several lines
		CompletionOptions:  cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.AddCommand(serveCommand(env), planCommand(env), doctorCommand(env), versionCommand(env))
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.InitDefaultHelpCmd()
	command, rest, err := root.Find(args)
	if err != nil {
		return fmt.Errorf("%w; --help lists all", err)
	}
	// Flags have to come after the command, so what Find took is the command's name.
	command.InitDefaultHelpFlag()
	rest, err = canonical(command.Flags(), rest)
	if err != nil {
		return err
	}
	if command != root {
		rest = append([]string{command.Name()}, rest...)
	}
	root.SetArgs(rest)
	return root.ExecuteContext(ctx)
}

// flagsOnly refuses arguments; cobra's own check takes them for unknown commands.
func flagsOnly(command *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes flags only, not %q", command.Name(), args[0])
	}
	return nil
}

func doctorCommand(env Env) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Show the Vulkan devices, and which kernels run on them and why", Args: flagsOnly,
		RunE: func(*cobra.Command, []string) error { return doctor(env.Stdout, compute.Devices) },
	}
}

// planRank is the largest rank of a plan's adapters where the command line names none.
const planRank = 16

func planCommand(env Env) *cobra.Command {
	command := &cobra.Command{Use: "plan", Short: "Show the recorded program of a step: stages, dispatches, bytes, flops", Args: flagsOnly}
	command.Long = command.Short + ".\n\n" + inertHelp
	v := addFlags(command.Flags())
	command.Flags().IntVar(&v.config.PlanTokens, "tokens", 1, "tokens of the step")
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		// Which adapters will come does not matter to a plan, only that some may.
		if adapters := &v.config; v.enable && adapters.MaxLoRARank == 0 && len(v.paths) == 0 {
			adapters.MaxLoRARank, adapters.TargetModules = planRank, []string{"all"}
		}
		c, err := v.finish(cmd.Flags())
		if err != nil {
			return err
		}
		if c.PlanTokens < 1 {
			return fmt.Errorf("--tokens must be at least 1, not %d", c.PlanTokens)
		}
		return plan(cmd.Context(), &c, env, v.enable || len(v.paths) > 0)
	}
	return command
}

func versionCommand(env Env) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version", Args: flagsOnly,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(env.Stdout, "lorikeet", version())
			return err
		},
	}
}

// version is what the build says of itself: a module version, or a commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "unknown"
}
