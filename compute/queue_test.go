package compute

import (
	"testing"

	"github.com/stretchr/testify/require"

	"lorikeet/compute/internal/native"
)

func TestUploadQueue(t *testing.T) {
	const graphics, compute, transfer, sparse, decode = 1, 2, 4, 8, 32
	families := func(all ...native.QueueFamily) []native.QueueFamily { return all }
	for _, c := range []struct {
		name     string
		families []native.QueueFamily
		compute  int
		want     native.QueuePlace
	}{
		{"an NVIDIA GPU: its copy engines", families(
			native.QueueFamily{Flags: graphics | compute | transfer | sparse, Queues: 16}, native.QueueFamily{Flags: transfer | sparse, Queues: 2},
			native.QueueFamily{Flags: compute | transfer | sparse, Queues: 8}, native.QueueFamily{Flags: transfer | decode, Queues: 3}),
			2, native.QueuePlace{Family: 1}},
		{"a family for video copies as well, but is not for copies", families(
			native.QueueFamily{Flags: transfer | decode, Queues: 1}, native.QueueFamily{Flags: graphics | compute | transfer, Queues: 2}),
			1, native.QueuePlace{Family: 1, Index: 1}},
		{"a family without queues", families(
			native.QueueFamily{Flags: compute, Queues: 4}, native.QueueFamily{Flags: transfer}),
			0, native.QueuePlace{Index: 1}},
		{"one queue for everything", families(native.QueueFamily{Flags: graphics | compute | transfer, Queues: 1}), 0, native.QueuePlace{}},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, uploadQueue(c.families, c.compute)) })
	}
}
