package compute

import (
	"fmt"
	"sync"

	"lorikeet/compute/internal/native"
)

// stagingSize is the size of each buffer between the host and memory it does not see: large enough to hide the cost of a submission.
const stagingSize = 16 << 20

// staging carries bytes to and from memory that the host does not see, or does not see well.
type staging struct {
	mu      sync.Mutex
	up      [2]*Buffer // used in turns: the host fills one while the device empties the other
	tickets [2]Ticket  // when each is empty again
	turn    int
	down    *Buffer
}

// Upload writes src to dst. When it returns src may be reused, and programs submitted later see the bytes. Programs submitted
// earlier must not use dst any more. It fails when the sizes differ.
func (d *Device) Upload(dst Span, src []byte) error {
	if int64(len(src)) != dst.Size {
		return fmt.Errorf("compute: upload %d bytes to a span of %d", len(src), dst.Size)
	}
	if bytes := dst.Bytes(); bytes != nil {
		copy(bytes, src)
		return nil
	}
	s := &d.staging
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(src) > 0 {
		n := min(len(src), stagingSize)
		if err := d.stageUp(dst.Slice(0, int64(n)), src[:n]); err != nil {
			return fmt.Errorf("compute: upload %d bytes: %w", dst.Size, err)
		}
		src, dst = src[n:], dst.Slice(int64(n), dst.Size-int64(n))
	}
	return nil
}

// stageUp sends one piece through the next staging buffer.
func (d *Device) stageUp(dst Span, src []byte) error {
	s := &d.staging
	i := s.turn
	s.turn = 1 - i
	if s.up[i] == nil {
		b, err := d.Allocate(stagingSize, HostWrite)
		if err != nil {
			return err
		}
		s.up[i] = b
	}
	if err := d.Wait(s.tickets[i]); err != nil {
		return err
	}
	copy(s.up[i].bytes, src)
	t, err := d.copy(dst, s.up[i].All().Slice(0, dst.Size))
	s.tickets[i] = t
	return err
}

// Download waits for the work submitted so far and reads src into dst. It fails when the sizes differ.
func (d *Device) Download(dst []byte, src Span) error {
	if int64(len(dst)) != src.Size {
		return fmt.Errorf("compute: download a span of %d bytes into %d", src.Size, len(dst))
	}
	// Reading mapped memory that is not cached is slower than copying it first.
	if bytes := src.Bytes(); bytes != nil && src.Buffer.cached {
		if err := d.Wait(d.lastTicket()); err != nil {
			return err
		}
		copy(dst, bytes)
		return nil
	}
	s := &d.staging
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down == nil {
		b, err := d.Allocate(stagingSize, HostRead)
		if err != nil {
			return err
		}
		s.down = b
	}
	for len(dst) > 0 {
		n := min(len(dst), stagingSize)
		t, err := d.copy(s.down.All().Slice(0, int64(n)), src.Slice(0, int64(n)))
		if err == nil {
			err = d.Wait(t)
		}
		if err != nil {
			return fmt.Errorf("compute: download %d bytes: %w", src.Size, err)
		}
		copy(dst[:n], s.down.bytes)
		dst, src = dst[n:], src.Slice(int64(n), src.Size-int64(n))
	}
	return nil
}

// Fill repeats a word over dst after the work submitted so far, and waits for it. Offset and size must be multiples of 4.
func (d *Device) Fill(dst Span, word uint32) error {
	if dst.Size == 0 {
		return nil
	}
	if dst.Offset%4 != 0 || dst.Size%4 != 0 {
		return fmt.Errorf("compute: fill %d bytes at %d: not in whole words", dst.Size, dst.Offset)
	}
	t, err := d.once(native.Barrier(native.BeginBarrier),
		native.Fill(number(dst.Buffer.buffer), uint64(dst.Offset), uint64(dst.Size), word), native.Barrier(native.EndBarrier))
	if err != nil {
		return err
	}
	// An upload may follow, and where the host sees the memory it does not queue behind this.
	return d.Wait(t)
}

// copy queues a copy between spans of one size.
func (d *Device) copy(dst, src Span) (Ticket, error) {
	return d.once(native.Barrier(native.BeginBarrier),
		native.Copy(number(dst.Buffer.buffer), uint64(dst.Offset), number(src.Buffer.buffer), uint64(src.Offset), uint64(src.Size)),
		native.Barrier(native.EndBarrier))
}
