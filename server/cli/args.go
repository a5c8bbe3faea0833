package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// manyValues is the annotation of a flag that takes every value up to the next flag.
const manyValues = "many"

// canonical rewrites a command line in the manner of Python's argparse, which SGLang's users know, into one that pflag
// reads: a unique prefix stands for its flag, underscores for dashes, and some flags take several values. Each flag
// comes out as --name=value, so that a value that looks like a flag is never taken for one.
func canonical(flags *pflag.FlagSet, args []string) ([]string, error) {
	var out []string
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return append(out, args[i:]...), nil
		}
		name, value, given := strings.Cut(args[i], "=")
		if !strings.HasPrefix(name, "--") {
			out = append(out, args[i])
			continue
		}
		f, err := lookup(flags, name)
		if err != nil {
			return nil, err
		}
		var values []string
		switch {
		case given:
			values = []string{value}
		case f.NoOptDefVal != "":
			values = []string{f.NoOptDefVal}
		default:
			values = valuesAfter(args[i+1:], len(f.Annotations[manyValues]) > 0)
			i += len(values)
		}
		if len(values) == 0 {
			return nil, fmt.Errorf("--%s needs a value", f.Name)
		}
		for _, v := range values {
			out = append(out, "--"+f.Name+"="+v)
		}
	}
	return out, nil
}

// valuesAfter returns the values at the beginning of args: one, or all up to the next flag.
func valuesAfter(args []string, many bool) []string {
	n := 0
	for n < len(args) && !isFlag(args[n]) && (many || n == 0) {
		n++
	}
	return args[:n]
}

// isFlag tells flags from values; a negative number is a value.
func isFlag(arg string) bool {
	return len(arg) > 1 && arg[0] == '-' && !strings.ContainsRune("0123456789.", rune(arg[1]))
}

// lookup finds the flag that a name, an alias or a unique prefix stands for, or says why there is none.
func lookup(flags *pflag.FlagSet, given string) (*pflag.Flag, error) {
	name := strings.ReplaceAll(strings.TrimPrefix(given, "--"), "_", "-")
	if f := flags.Lookup(cmp.Or(aliases[name], name)); f != nil {
		return f, nil
	}
	if err := refusal(name); err != nil {
		return nil, err
	}
	var found []string
	flags.VisitAll(func(f *pflag.Flag) {
		if strings.HasPrefix(f.Name, name) {
			found = append(found, "--"+f.Name)
		}
	})
	for alias, flag := range aliases {
		if strings.HasPrefix(alias, name) {
			found = append(found, "--"+flag)
		}
	}
	slices.Sort(found)
	switch found = slices.Compact(found); len(found) {
	case 1:
		return flags.Lookup(found[0][2:]), nil
	case 0:
		return nil, fmt.Errorf("unknown flag %s; see --help", given)
	}
	return nil, fmt.Errorf("%s is ambiguous: it could be %s", given, strings.Join(found, ", "))
}
