package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// TestEveryFlagOfSGLangIsKnown has the names of its server_args.py of August 2026, and of its documentation.
func TestEveryFlagOfSGLangIsKnown(t *testing.T) {
	list, err := os.ReadFile("testdata/sglang-flags.txt")
	require.NoError(t, err)
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	addFlags(f)
	for _, name := range strings.Fields(string(list)) {
		_, err := lookup(f, "--"+name)
		if err != nil {
			require.ErrorContains(t, err, "--"+name+" is not supported: ")
		} else if aliases[name] == "" {
			require.NotNil(t, f.Lookup(name), "%s is only a prefix of another", name)
		}
	}
}

// TestInertFlags gives each of them alone, with every value that it takes.
func TestInertFlags(t *testing.T) {
	for _, g := range inert {
		want := func(name string, args ...string) {
			c, err := parse(args...)
			require.NoError(t, err, args)
			require.Equal(t, []string{"--" + name + " (" + g.why + ")"}, c.Inert)
		}
		for _, name := range strings.Fields(g.switches) {
			want(name, "--"+name)
		}
		for _, name := range strings.Fields(g.several) {
			want(name, "--"+name, "1", "2")
		}
		for _, name := range strings.Fields(g.one) {
			if g.only == "" {
				want(name, "--"+name, "x")
				continue
			}
			for _, value := range strings.Fields(g.only) {
				want(name, "--"+name, value)
			}
			_, err := parse("--"+name, "x")
			require.ErrorContains(t, err, "--"+name+" x is not supported ("+g.why+"); leave it at ")
		}
	}
}

// TestRefusedFlags has no flag refused that is there, nor any alias that hides one or leads nowhere.
func TestRefusedFlags(t *testing.T) {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	addFlags(f)
	for _, r := range refused {
		for _, name := range strings.Fields(r.names) {
			require.Nil(t, f.Lookup(name), name)
			if strings.HasSuffix(name, "-") {
				name += "x"
			}
			_, err := parse("--" + name)
			require.EqualError(t, err, "--"+name+" is not supported: "+r.why)
		}
	}
	for alias, name := range aliases {
		require.Nil(t, f.Lookup(alias), alias)
		require.NotNil(t, f.Lookup(name), name)
	}
}
