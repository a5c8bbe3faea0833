package compute

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"lorikeet/compute/internal/native"
)

// stagingSize is the size of each buffer between the host and memory it does not see: large enough to hide the cost of a submission.
const stagingSize = 16 << 20

// A staging buffer is filled by so many goroutines, by parts of so many bytes: one core copies slower than the bus carries.
const (
	fillers  = 4
	fillPart = 256 << 10
)

// Uploader carries bytes to the device beside the programs that run there: on a queue of its own where the device has one, through two
// staging buffers that it fills and empties in turns. Upload belongs to one goroutine at a time; Done and Wait may be called from any.
type Uploader struct {
	dev      *Device
	staging  [2]*Buffer
	tickets  [2]UploadTicket // when each is empty again
	turn     int             // the one being filled
	filled   int64
	parts    []part           // copies into it
	commands []native.Command // copies out of it
}

// part is a copy into a staging buffer.
type part struct{ to, from []byte }

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
		u.empty()
		_ = u.Wait(last) // a device that fails here has failed above
		return 0, err
	}
	return last, nil
}

// MostWritten is the most bytes that Write takes at a time.
const MostWritten = stagingSize

// Write has fill write all bytes of a span, of at most MostWritten, where they leave from: in a staging buffer. It returns when fill has;
// the ticket is as Upload's.
func (u *Uploader) Write(to Span, fill func(bytes []byte)) (UploadTicket, error) {
	if to.Size > MostWritten {
		return 0, fmt.Errorf("compute: write %d bytes at once: at most %d", to.Size, MostWritten)
	}
	if err := u.Wait(u.tickets[u.turn]); err != nil {
		return 0, err
	}
	b := u.staging[u.turn]
	fill(b.bytes[:to.Size])
	u.filled = to.Size
	u.commands = append(u.commands, native.Copy(number(to.Buffer.buffer), uint64(to.Offset), number(b.buffer), 0, uint64(to.Size)))
	var sent UploadTicket
	err := u.send(&sent)
	if err != nil {
		u.empty()
	}
	return sent, err
}

// stage shares the pieces out to the staging buffers and sends off each that is full, and the last; last is the ticket so far.
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
			n := min(int64(len(from)), b.size-u.filled)
			u.share(b.bytes[u.filled:u.filled+n], from[:n])
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

// share notes a copy into the buffer being filled, in parts that fillers can share.
func (u *Uploader) share(to, from []byte) {
	for len(from) > 0 {
		n := min(len(from), fillPart)
		u.parts = append(u.parts, part{to[:n], from[:n]})
		to, from = to[n:], from[n:]
	}
}

// fill makes the copies into the buffer.
func (u *Uploader) fill() {
	var next atomic.Int64
	work := func() {
		for i := next.Add(1) - 1; i < int64(len(u.parts)); i = next.Add(1) - 1 {
			copy(u.parts[i].to, u.parts[i].from)
		}
	}
	var others sync.WaitGroup
	for range min(fillers, runtime.GOMAXPROCS(0), len(u.parts)) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
}

// empty forgets what was noted.
func (u *Uploader) empty() {
	clear(u.parts) // the caller's memory
	u.parts, u.commands, u.filled = u.parts[:0], u.commands[:0], 0
}

// send fills the buffer, submits the copies out of it and turns to the other.
func (u *Uploader) send(last *UploadTicket) error {
	if u.filled == 0 {
		return nil
	}
	u.fill()
	value, err := u.dev.once(&u.dev.uploads, append(u.commands, native.Barrier(native.UploadBarrier))...)
	if err != nil {
		return err
	}
	*last = UploadTicket(value)
	u.tickets[u.turn] = *last
	u.turn = 1 - u.turn
	u.empty()
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
