package compute

import "fmt"

// Ticket names a submission. Tickets grow; when one is done so are all before it. The zero ticket is always done.
type Ticket uint64

// Submit runs programs in order, after everything submitted before. A program that is still running must not be submitted again.
// Host writes made before the call are visible to the programs, and so is what an [Uploader] has reported done.
func (d *Device) Submit(programs ...*Program) (Ticket, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	batch := d.batch[:0]
	next := d.work.submitted + 1
	for i, p := range programs {
		if p.ticket > d.work.completed.Load() && (p.ticket == next || !d.passed(&d.work, p.ticket)) {
			forget(programs[:i])
			return 0, fmt.Errorf("compute: submit %q: the program is still running", p.name)
		}
		p.ticket = next
		batch = append(batch, p.commands)
	}
	d.batch = batch
	value, err := d.submit(&d.work, batch)
	if err != nil {
		forget(programs)
	}
	return Ticket(value), err
}

// forget takes back the tickets of programs that were idle and did not get submitted after all.
func forget(programs []*Program) {
	for _, p := range programs {
		p.ticket = 0
	}
}

// Done reports whether a submission is finished, without waiting.
func (d *Device) Done(t Ticket) (bool, error) { return d.done(&d.work, uint64(t)) }

// Wait returns when a submission is finished; what it wrote is then visible to the host. On a GPU it polls, first hard and
// then with naps, since a blocking wait costs tens of microseconds. The error matches ErrDeviceLost when the device stopped.
func (d *Device) Wait(t Ticket) error {
	if uint64(t) > d.work.completed.Load() && t > d.lastTicket() {
		return fmt.Errorf("compute: wait for ticket %d: it was not submitted", t)
	}
	return d.wait(&d.work, uint64(t))
}

func (d *Device) lastTicket() Ticket { return Ticket(d.last(&d.work)) }
