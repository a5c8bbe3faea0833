package lora

import (
	"errors"
	"sync/atomic"

	"lorikeet/compute"
)

// errDropped ends an upload that nobody wants any more.
var errDropped = errors.New("lora: the adapter was dropped")

// upload is an adapter on its way to the device.
type upload struct {
	pieces  []compute.Piece
	dropped atomic.Bool   // need not begin
	done    chan struct{} // closed at the end
	err     error         // read after done
}

// over says whether the upload has ended.
func (u *upload) over() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// uploads runs uploads one after the other on a goroutine of its own: copying
// an adapter to where the device can read it takes many times as long as a
// decode step. The goroutine ends with close.
type uploads struct {
	send  func([]compute.Piece) error // returns when the bytes have arrived
	queue chan *upload
	ended chan struct{}
}

// newUploads starts the goroutine. At most so many uploads may be under way at
// a time.
func newUploads(send func([]compute.Piece) error, most int) *uploads {
	w := &uploads{send: send, queue: make(chan *upload, most), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for u := range w.queue {
			w.run(u)
		}
	}()
	return w
}

func (w *uploads) run(u *upload) {
	defer close(u.done)
	if u.dropped.Load() {
		u.err = errDropped
		return
	}
	u.err = w.send(u.pieces)
}

// start begins an upload and waits for nothing.
func (w *uploads) start(pieces []compute.Piece) *upload {
	u := &upload{pieces: pieces, done: make(chan struct{})}
	w.queue <- u
	return u
}

// close returns when all uploads have ended.
func (w *uploads) close() {
	close(w.queue)
	<-w.ended
}

// sendWith uploads through an uploader.
func sendWith(u *compute.Uploader) func([]compute.Piece) error {
	return func(pieces []compute.Piece) error {
		ticket, err := u.Upload(pieces...)
		if err != nil {
			return err
		}
		return u.Wait(ticket)
	}
}
