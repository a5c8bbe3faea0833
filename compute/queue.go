package compute

import (
	"sync/atomic"

	vk "github.com/vulkan-go/vulkan"

	"lorikeet/compute/internal/native"
)

// queue is one of the two queues of a device: that of programs, and that of uploads, which run beside them. Where the device has
// only one, they are the same underneath, but each has a timeline of its own.
type queue struct {
	kind      native.Queue
	completed atomic.Uint64 // value the timeline is known to have reached

	// Guarded by Device.mu.
	pool      vk.CommandPool
	submitted uint64   // value of the last submission
	followed  uint64   // value of the other queue's timeline that submissions here follow
	graveyard []burial // in order of their tickets
}

// burial is something to destroy once the device has passed a value of a timeline.
type burial struct {
	value   uint64
	destroy func()
}

const (
	graphicsFlag = uint32(vk.QueueGraphicsBit)
	computeFlag  = uint32(vk.QueueComputeBit)
	transferFlag = uint32(vk.QueueTransferBit)
	sparseFlag   = uint32(vk.QueueSparseBindingBit)
)

// uploadQueue picks the queue for uploads beside the first queue of the compute family: one of a family that can do nothing else, behind
// which stands a copy engine of its own; else a second one of the compute family; else the same.
func uploadQueue(families []native.QueueFamily, compute int) native.QueuePlace {
	for i, f := range families {
		if f.Queues > 0 && f.Flags&transferFlag != 0 && f.Flags&^(transferFlag|sparseFlag) == 0 {
			return native.QueuePlace{Family: i}
		}
	}
	if families[compute].Queues > 1 {
		return native.QueuePlace{Family: compute, Index: 1}
	}
	return native.QueuePlace{Family: compute}
}

func (d *Device) createPool(q *queue, family int) error {
	info := vk.CommandPoolCreateInfo{SType: vk.StructureTypeCommandPoolCreateInfo, QueueFamilyIndex: uint32(family)}
	defer info.Free()
	var pool vk.CommandPool
	r := vk.CreateCommandPool(d.handle, &info, nil, &pool)
	q.pool = pool
	return check(native.Result(r), "create a command pool")
}

// submit hands command buffers to a queue; d.mu is held. They see what the other queue is known to have done: the wait for it never
// blocks, and makes its writes visible here.
func (d *Device) submit(q *queue, batch []uint64) (uint64, error) {
	after := d.beside(q).completed.Load()
	follow := after
	if after <= q.followed {
		follow = 0
	}
	if r := d.native.Submit(q.kind, batch, q.submitted+1, follow); r != 0 {
		return 0, check(r, "submit")
	}
	q.followed = max(q.followed, after)
	q.submitted++
	return q.submitted, nil
}

// beside is the other queue.
func (d *Device) beside(q *queue) *queue {
	if q == &d.work {
		return &d.uploads
	}
	return &d.work
}

// once records commands, submits them, and frees the recording when it is done.
func (d *Device) once(q *queue, commands ...native.Command) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	pool := number(q.pool)
	buffer, r := d.native.Record(pool, commands, nil, 0)
	if r != 0 {
		return 0, check(r, "record a transfer")
	}
	value, err := d.submit(q, []uint64{buffer})
	d.bury(q, func() { d.native.FreeRecorded(pool, buffer) })
	return value, err
}

// done reports whether a queue's timeline has reached a value, without waiting.
func (d *Device) done(q *queue, value uint64) (bool, error) {
	if value <= q.completed.Load() {
		return true, nil
	}
	now, r := d.native.Completed(q.kind)
	if r != 0 {
		return false, check(r, "poll")
	}
	q.reached(now)
	return now >= value, nil
}

// wait returns when a queue's timeline has reached a value that was submitted.
func (d *Device) wait(q *queue, value uint64) error {
	if value <= q.completed.Load() {
		return nil
	}
	now, r := d.native.Wait(q.kind, value)
	if r != 0 {
		return check(r, "wait")
	}
	q.reached(now)
	d.reap(q)
	return nil
}

// reached notes the timeline's value.
func (q *queue) reached(value uint64) {
	for {
		old := q.completed.Load()
		if value <= old || q.completed.CompareAndSwap(old, value) {
			return
		}
	}
}

// passed asks the device whether it has passed a value.
func (d *Device) passed(q *queue, value uint64) bool {
	now, r := d.native.Completed(q.kind)
	if r == 0 {
		q.reached(now)
	}
	return value <= q.completed.Load()
}

// last is the value of a queue's last submission.
func (d *Device) last(q *queue) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return q.submitted
}

// bury destroys something once the work submitted to a queue so far is done; d.mu is held.
func (d *Device) bury(q *queue, destroy func()) {
	if q.submitted <= q.completed.Load() || d.passed(q, q.submitted) {
		destroy()
		return
	}
	q.graveyard = append(q.graveyard, burial{q.submitted, destroy})
}

// reap destroys what the device has passed.
func (d *Device) reap(q *queue) {
	d.mu.Lock()
	defer d.mu.Unlock()
	done := q.completed.Load()
	n := 0
	for n < len(q.graveyard) && q.graveyard[n].value <= done {
		q.graveyard[n].destroy()
		n++
	}
	if n > 0 {
		q.graveyard = append(q.graveyard[:0], q.graveyard[n:]...)
	}
}

// buried reports whether something released still waits for a queue.
func (d *Device) buried(q *queue) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(q.graveyard) > 0
}
