package compute

import "lorikeet/compute/internal/native"

// OpenUnmapped opens a device as if the host could not see its memory.
func OpenUnmapped(o Options) (*Device, error) { return open(o, true) }

// FillPastEnd breaks a rule that the validation layer's core checks know.
func (d *Device) FillPastEnd(b *Buffer) error {
	_, err := d.once(&d.work, native.Fill(number(b.buffer), uint64(b.size), 4, 0))
	return err
}

// CopyTwice breaks a rule that its synchronization checks know: two writes of the same bytes with no order between them.
func (d *Device) CopyTwice(dst, src *Buffer) error {
	c := native.Copy(number(dst.buffer), 0, number(src.buffer), 0, uint64(src.size))
	t, err := d.once(&d.work, c, c)
	if err == nil {
		err = d.wait(&d.work, t)
	}
	return err
}

// DenyOrder makes the device one that starts workgroups in any order.
func (d *Device) DenyOrder() { d.info.InOrder = false }

// StageBarriers is how many barriers between stages are recorded for a profiler, or for nil.
func StageBarriers(stages []Stage, p *Profiler) int {
	commands, _ := encode(stages, p.timing())
	n := 0
	for _, c := range commands {
		if c == native.Barrier(native.StageBarrier) {
			n++
		}
	}
	return n
}
