package compute

import (
	"fmt"

	"lorikeet/compute/internal/native"
)

// stagingSize is the size of each buffer between the host and memory it does not see: large enough to hide the cost of a submission.
const stagingSize = 16 << 20

// Uploader carries bytes to the device beside the programs that run there: on a queue of its own where the device has one, through two
// staging buffers that it fills and empties in turns. Upload belongs to one goroutine at a time; Done and Wait may be called from any.
type Uploader struct {
	dev      *Device
	staging  [2]*Buffer
	tickets  [2]UploadTicket // when each is empty again
	turn     int             // the one being filled
	filled   int64
	commands []native.Command // copies out of it
}

// UploadTicket names an upload. Tickets of all uploaders of a device grow together; the zero ticket is always done.
type UploadTicket uint64

// Piece is bytes and where they go.
type Piece struct {
	To   Span
	From []byte
}

// NewUploader makes an uploader. Its staging buffers are all the memory it takes.
func (d *Device) NewUploader() (*Uploader, error) {
	u := &Uploader{dev: d}
	for i := range u.staging {
		b, err := d.Allocate(stagingSize, Staging)
		if err != nil {
			u.Close()
			return nil, fmt.Errorf("compute: staging buffer: %w", err)
		}
		u.staging[i] = b
	}
	return u, nil
}

// Upload takes the bytes of all pieces and returns when it has read them; they have arrived when the ticket is done. Until then nothing
// else may touch where they go. Programs submitted after Done or Wait said so see them. When it fails, none of the pieces is under way
// any more, and what was written where is undefined.
func (u *Uploader) Upload(pieces ...Piece) (UploadTicket, error) {
	for _, p := range pieces {
		if int64(len(p.From)) != p.To.Size {
			return 0, fmt.Errorf("compute: upload %d bytes to a span of %d", len(p.From), p.To.Size)
		}
	}
	var last UploadTicket
	err := u.stage(pieces, &last)
	if err != nil {
		u.commands, u.filled = u.commands[:0], 0
		_ = u.Wait(last) // a device that fails here has failed above
		return 0, err
	}
	return last, nil
}

// stage copies the pieces to the staging buffers and sends off each that is full, and the last; last is the ticket so far.
func (u *Uploader) stage(pieces []Piece, last *UploadTicket) error {
	for _, p := range pieces {
		to, from := p.To, p.From
		for len(from) > 0 {
			if u.filled == 0 {
				if err := u.Wait(u.tickets[u.turn]); err != nil {
					return err
				}
			}
			b := u.staging[u.turn]
			n := int64(copy(b.bytes[u.filled:], from))
			u.commands = append(u.commands, native.Copy(number(to.Buffer.buffer), uint64(to.Offset), number(b.buffer), uint64(u.filled), uint64(n)))
			u.filled += n
			from, to = from[n:], to.Slice(n, to.Size-n)
			if u.filled == b.size {
				if err := u.send(last); err != nil {
					return err
				}
			}
		}
	}
	return u.send(last)
}

// send submits the copies out of the buffer being filled and turns to the other.
func (u *Uploader) send(last *UploadTicket) error {
	if u.filled == 0 {
		return nil
	}
	value, err := u.dev.once(&u.dev.uploads, append(u.commands, native.Barrier(native.UploadBarrier))...)
	if err != nil {
		return err
	}
	*last = UploadTicket(value)
	u.tickets[u.turn] = *last
	u.turn = 1 - u.turn
	u.commands, u.filled = u.commands[:0], 0
	return nil
}

// Done reports whether an upload has arrived, without waiting.
func (u *Uploader) Done(t UploadTicket) (bool, error) { return u.dev.done(&u.dev.uploads, uint64(t)) }

// Wait returns when an upload has arrived. The error matches ErrDeviceLost when the device stopped.
func (u *Uploader) Wait(t UploadTicket) error { return u.dev.wait(&u.dev.uploads, uint64(t)) }

// Close waits for what is under way and frees the staging buffers.
func (u *Uploader) Close() {
	for i, b := range u.staging {
		_ = u.Wait(u.tickets[i]) // a lost device uses nothing any more
		if b != nil {
			b.Release()
		}
	}
}
