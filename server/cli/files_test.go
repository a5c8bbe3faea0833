package cli

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/model/tokenizer"
)

// TestEndTokens has models whose tokenizer ends answers with a token that the configuration does not know.
func TestEndTokens(t *testing.T) {
	demo, err := tokenizer.Load(os.DirFS(demoFolder))
	require.NoError(t, err)
	end, ok := demo.EOS()
	require.True(t, ok)
	for _, c := range []struct{ configured, want []int32 }{
		{nil, []int32{end}},
		{[]int32{5}, []int32{5, end}},
		{[]int32{end, 5}, []int32{end, 5}},
	} {
		f := &files{tokenizer: demo}
		f.config.EOS = c.configured
		require.Equal(t, c.want, f.endTokens())
		f.tokenizer = nil
		require.Equal(t, c.configured, f.endTokens())
	}
}
