package cli

import (
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

func TestCanonical(t *testing.T) {
	for _, c := range []struct{ args, want []string }{
		{[]string{"--port", "3"}, []string{"--port=3"}},
		{[]string{"--port=3"}, []string{"--port=3"}},
		{[]string{"--max-running-request", "5"}, []string{"--max-running-requests=5"}},
		{[]string{"--disable-radix"}, []string{"--disable-radix-cache=true"}},
		{[]string{"--tp", "1", "--model", "m"}, []string{"--tp-size=1", "--model-path=m"}},
		{[]string{"--tensor_parallel_size=1", "--data-parallel-size", "1"}, []string{"--tp-size=1", "--dp-size=1"}},
		{[]string{"--stream-output"}, []string{"--incremental-streaming-output=true"}},
		{[]string{"--stream-out", "--tensor-par", "1"}, []string{"--incremental-streaming-output=true", "--tp-size=1"}},
		{[]string{"--model_path", "m", "--enable_lora"}, []string{"--model-path=m", "--enable-lora=true"}},
		{[]string{"--enable-lora=false"}, []string{"--enable-lora=false"}},
		{[]string{"--lora-paths", "a=x", "y", `{"lora_name":"n"}`, "--port", "1"},
			[]string{"--lora-paths=a=x", "--lora-paths=y", `--lora-paths={"lora_name":"n"}`, "--port=1"}},
		{[]string{"--lora-paths=a=x", "stray"}, []string{"--lora-paths=a=x", "stray"}},
		{[]string{"--chunked-prefill-size", "-1"}, []string{"--chunked-prefill-size=-1"}},
		{[]string{"--cuda-graph-max-bs", "2"}, []string{"--cuda-graph-max-bs=2"}},
		{[]string{"-h", "--", "--port"}, []string{"-h", "--", "--port"}},
	} {
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		addFlags(f)
		got, err := canonical(f, c.args)
		require.NoError(t, err, c.args)
		require.Equal(t, c.want, got)
	}
}

func TestCanonicalRefuses(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--nonsense"}, "unknown flag --nonsense; see --help"},
		{[]string{"--max-lo", "3"}, "--max-lo is ambiguous: it could be --max-loaded-loras, --max-lora-chunk-size, --max-lora-rank, --max-loras-per-batch"},
		{[]string{"--speculative-algorithm", "EAGLE"}, "--speculative-algorithm is not supported: there is no speculative decoding, without which answers are the same; leave it out"},
		{[]string{"--tool_call_parser=llama3"}, "--tool-call-parser is not supported: calls of tools come back as text; leave it out, and parse them in the client"},
		{[]string{"--port"}, "--port needs a value"},
		{[]string{"--host", "--port", "3"}, "--host needs a value"},
		{[]string{"--lora-paths", "--port", "3"}, "--lora-paths needs a value"},
	} {
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		addFlags(f)
		_, err := canonical(f, c.args)
		require.EqualError(t, err, c.want)
	}
}
