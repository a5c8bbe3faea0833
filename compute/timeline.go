package compute

import (
	"fmt"

	"lorikeet/compute/internal/native"
)

// Ticket names a submission. Tickets grow; when one is done so are all before it. The zero ticket is always done.
type Ticket uint64

// burial is something to destroy once the device has passed a ticket.
type burial struct {
	ticket  uint64
	destroy func()
}

// Submit runs programs in order, after everything submitted before. A program that is still running must not be submitted again.
// Host writes made before the call are visible to the programs.
func (d *Device) Submit(programs ...*Program) (Ticket, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	batch := d.batch[:0]
	next := d.submitted + 1
	for i, p := range programs {
		if p.ticket > d.completed.Load() && (p.ticket == next || !d.passed(p.ticket)) {
			forget(programs[:i])
			return 0, fmt.Errorf("compute: submit %q: the program is still running", p.name)
		}
		p.ticket = next
		batch = append(batch, p.commands)
	}
	d.batch = batch
	t, err := d.submit(batch)
	if err != nil {
		forget(programs)
	}
	return t, err
}

// forget takes back the tickets of programs that were idle and did not get submitted after all.
func forget(programs []*Program) {
	for _, p := range programs {
		p.ticket = 0
	}
}

// submit hands command buffers to the queue; d.mu is held.
func (d *Device) submit(batch []uint64) (Ticket, error) {
	if r := d.native.Submit(batch, d.submitted+1); r != 0 {
		return 0, check(r, "submit")
	}
	d.submitted++
	return Ticket(d.submitted), nil
}

// Done reports whether a submission is finished, without waiting.
func (d *Device) Done(t Ticket) (bool, error) {
	if uint64(t) <= d.completed.Load() {
		return true, nil
	}
	value, r := d.native.Completed()
	if r != 0 {
		return false, check(r, "poll")
	}
	d.reached(value)
	return value >= uint64(t), nil
}

// Wait returns when a submission is finished; what it wrote is then visible to the host. On a GPU it polls, first hard and
// then with naps, since a blocking wait costs tens of microseconds. The error matches ErrDeviceLost when the device stopped.
func (d *Device) Wait(t Ticket) error {
	if uint64(t) <= d.completed.Load() {
		return nil
	}
	if t > d.lastTicket() {
		return fmt.Errorf("compute: wait for ticket %d: it was not submitted", t)
	}
	value, r := d.native.Wait(uint64(t))
	if r != 0 {
		return check(r, "wait")
	}
	d.reached(value)
	d.reap()
	return nil
}

// reached notes the timeline's value.
func (d *Device) reached(value uint64) {
	for {
		old := d.completed.Load()
		if value <= old || d.completed.CompareAndSwap(old, value) {
			return
		}
	}
}

// passed asks the device whether it has passed a ticket.
func (d *Device) passed(ticket uint64) bool {
	value, r := d.native.Completed()
	if r == 0 {
		d.reached(value)
	}
	return ticket <= d.completed.Load()
}

func (d *Device) lastTicket() Ticket {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Ticket(d.submitted)
}

// once records commands, submits them, and frees the recording when it is done.
func (d *Device) once(commands ...native.Command) (Ticket, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	pool := number(d.pool)
	buffer, r := d.native.Record(pool, commands, nil, 0)
	if r != 0 {
		return 0, check(r, "record a transfer")
	}
	t, err := d.submit([]uint64{buffer})
	d.bury(func() { d.native.FreeRecorded(pool, buffer) })
	return t, err
}

// bury destroys something once the work submitted so far is done; d.mu is held.
func (d *Device) bury(destroy func()) {
	if d.submitted <= d.completed.Load() || d.passed(d.submitted) {
		destroy()
		return
	}
	d.graveyard = append(d.graveyard, burial{d.submitted, destroy})
}

// reap destroys what the device has passed.
func (d *Device) reap() {
	d.mu.Lock()
	defer d.mu.Unlock()
	done := d.completed.Load()
	n := 0
	for n < len(d.graveyard) && d.graveyard[n].ticket <= done {
		d.graveyard[n].destroy()
		n++
	}
	if n > 0 {
		d.graveyard = append(d.graveyard[:0], d.graveyard[n:]...)
	}
}

// buried reports whether something released still waits for the device.
func (d *Device) buried() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.graveyard) > 0
}
