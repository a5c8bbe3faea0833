package server

import (
	"math"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPriority(t *testing.T) {
	seven := 7
	for _, c := range []struct {
		rules Priorities
		field string
		want  int
	}{
		{Priorities{}, `"priority":5`, 0},
		{Priorities{Default: &seven}, ``, 0},
		{Priorities{Enabled: true}, `"priority":5`, 5},
		{Priorities{Enabled: true}, `"priority":-5`, -5},
		{Priorities{Enabled: true}, `"priority":null`, math.MinInt},
		{Priorities{Enabled: true, LowFirst: true}, `"priority":5`, -5},
		{Priorities{Enabled: true, LowFirst: true}, ``, math.MinInt},
		{Priorities{Enabled: true, Default: &seven}, ``, 7},
		{Priorities{Enabled: true, Default: &seven, LowFirst: true}, ``, -7},
	} {
		r := newRig(t, func(config *Config) { config.Priorities = c.rules })
		more := c.field
		if more != "" {
			more = "," + more
		}
		status, _ := r.post(`{"text":"a"` + more + `}`)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, c.want, r.engine.last(t).Priority, "%+v %s", c.rules, c.field)
	}
}

func TestPriorityIsRefused(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Priorities.Refuse = true })
	status, v := r.post(`{"text":"a","priority":1}`)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "Using priority is disabled for this server. Please send a new request without a priority.", get(t, v, "message"))
	status, _ = r.post(`{"text":"a"}`)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, r.refused(`{"text":"a","priority":"high"}`), "priority must be an integer, got a string")
}
