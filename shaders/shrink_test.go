package shaders

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// shrink_lanes is told what shrink is, and reads all of it but the end.
func TestShrinkLanesReadsTheSamePush(t *testing.T) {
	require.Equal(t, unsafe.Sizeof(shrinkLanesPush{}), unsafe.Offsetof(shrinkPush{}.Flow))
	require.Equal(t, unsafe.Offsetof(shrinkLanesPush{}.Eps), unsafe.Offsetof(shrinkPush{}.Eps))
}
