package compute

import (
	"fmt"
	"sync"

	"lorikeet/compute/internal/native"
)

// staging carries bytes to and from memory that the host does not see, or does not see well.
type staging struct {
	mu   sync.Mutex
	up   *Uploader
	down *Buffer
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
	if s.up == nil {
		up, err := d.NewUploader()
		if err != nil {
			return err
		}
		s.up = up
	}
	t, err := s.up.Upload(Piece{dst, src})
	if err == nil {
		err = s.up.Wait(t)
	}
	if err != nil {
		return fmt.Errorf("compute: upload %d bytes: %w", dst.Size, err)
	}
	return nil
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
			err = d.wait(&d.work, t)
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
	t, err := d.once(&d.work, native.Barrier(native.BeginBarrier),
		native.Fill(number(dst.Buffer.buffer), uint64(dst.Offset), uint64(dst.Size), word), native.Barrier(native.EndBarrier))
	if err != nil {
		return err
	}
	// An upload may follow, which does not queue behind this.
	return d.wait(&d.work, t)
}

// copy queues a copy between spans of one size behind the programs.
func (d *Device) copy(dst, src Span) (uint64, error) {
	return d.once(&d.work, native.Barrier(native.BeginBarrier),
		native.Copy(number(dst.Buffer.buffer), uint64(dst.Offset), number(src.Buffer.buffer), uint64(src.Offset), uint64(src.Size)),
		native.Barrier(native.EndBarrier))
}
