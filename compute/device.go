package compute

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	vk "github.com/vulkan-go/vulkan"

	"lorikeet/compute/internal/native"
)

// Options say how to open a device.
type Options struct {
	Device     string // index or part of the name, in any case; "": the best usable one (discrete, integrated, virtual, then CPU)
	CachePath  string // file that keeps compiled pipelines from one process to the next; "": none
	Validation bool   // check every call with the Khronos validation layer; see ValidationMessages
	Statistics bool   // have the driver keep what KernelStatistics tells
}

// Device is an open device with a queue for programs and one for uploads.
type Device struct {
	info     Info
	options  Options
	staged   bool // device memory is not mapped, or treated as if it were not
	instance native.Instance
	physical physicalDevice
	memory   []native.MemoryType
	heap     int // the largest device-local one
	native   native.Device
	handle   vk.Device
	groups   [3]uint32
	subgroup int // size to require of pipelines, 0: the device has only one

	compiling  sync.WaitGroup
	closing    atomic.Bool   // no kernel begins to compile any more
	compilers  chan struct{} // bounds the pipelines compiled at once
	work       queue
	uploads    queue
	staging    staging
	validation messages

	mu       sync.Mutex // guards the queues, their command pools and what follows
	batch    []uint64
	kernels  []*Kernel
	buffers  map[*Buffer]struct{}
	programs map[*Program]struct{}
}

// Open opens a device. The error says what to install when there is no driver, and what a chosen device lacks.
func Open(o Options) (*Device, error) { return open(o, false) }

// open with unmapped treats device memory as invisible to the host, as it is on most discrete GPUs.
func open(o Options, unmapped bool) (*Device, error) {
	in, err := openInstance(o.Validation)
	if err != nil {
		return nil, err
	}
	d := &Device{options: o, instance: in, buffers: map[*Buffer]struct{}{}, programs: map[*Program]struct{}{}, batch: make([]uint64, 0, 64)}
	if err := d.open(unmapped); err != nil {
		in.Destroy()
		return nil, err
	}
	return d, nil
}

func (d *Device) open(unmapped bool) error {
	devices, infos, err := listDevices(d.instance)
	if err != nil {
		return err
	}
	i, err := choose(infos, d.options.Device)
	if err != nil {
		return err
	}
	d.info, d.physical = infos[i], devices[i]
	d.memory = d.physical.description.MemoryTypes()
	d.heap, _ = localHeap(d.physical.description.MemoryHeaps())
	d.info.MappedLocal = d.info.MappedLocal && !unmapped
	d.staged = !d.info.MappedLocal
	d.groups = d.physical.description.MaxGroups()
	if size, least, most := d.physical.description.Subgroup(); least != most && d.physical.description.Has(native.SubgroupSizeControl) {
		d.subgroup = size
	}
	d.compilers = make(chan struct{}, runtime.NumCPU())

	work := native.QueuePlace{Family: d.physical.description.Family()}
	uploads := uploadQueue(d.physical.description.QueueFamilies(), work.Family)
	var r native.Result
	d.native, r = native.NewDevice(d.instance, d.physical.handle, d.physical.description, work, uploads, native.DeviceOptions{
		Spin: d.info.Type != CPU, Statistics: d.options.Statistics,
	})
	if r != 0 {
		return check(r, "open %q", d.info.Name)
	}
	d.handle = handle[vk.Device](d.native.Handle())
	d.work.kind, d.uploads.kind = native.Work, native.Uploads
	if err := errors.Join(d.createPool(&d.work, work.Family), d.createPool(&d.uploads, uploads.Family)); err != nil {
		d.destroyPools()
		d.native.Destroy()
		return err
	}
	d.loadCache()
	return nil
}

func (d *Device) destroyPools() {
	vk.DestroyCommandPool(d.handle, d.work.pool, nil)
	vk.DestroyCommandPool(d.handle, d.uploads.pool, nil)
}

// choose picks the device to open: by index, by a part of the name, or the best kind.
func choose(infos []Info, want string) (int, error) {
	best := -1
	for i, info := range infos {
		if want != "" && want != strconv.Itoa(i) && !strings.Contains(strings.ToLower(info.Name), strings.ToLower(want)) {
			continue
		}
		if want == strconv.Itoa(i) {
			best = i
			break
		}
		if best < 0 || rank(info) > rank(infos[best]) {
			best = i
		}
	}
	switch {
	case len(infos) == 0:
		return 0, fmt.Errorf("compute: no Vulkan device found: %s", installLoader)
	case best < 0:
		var names []string
		for _, info := range infos {
			names = append(names, fmt.Sprintf("%d: %s", info.Index, info.Name))
		}
		return 0, fmt.Errorf("compute: no device matches %q; there are %s", want, strings.Join(names, ", "))
	case len(infos[best].Missing) > 0:
		return 0, fmt.Errorf("compute: device %q lacks %s", infos[best].Name, strings.Join(infos[best].Missing, ", "))
	}
	return best, nil
}

// rank orders devices from useless to best.
func rank(i Info) int {
	if len(i.Missing) > 0 {
		return -1
	}
	return map[DeviceType]int{Other: 0, CPU: 1, Virtual: 2, Integrated: 3, Discrete: 4}[i.Type]
}

// Info describes the device; LocalFree is up to date.
func (d *Device) Info() Info {
	info := d.info
	info.LocalFree = localFree(d.instance, d.physical)
	return info
}

// Close waits for submitted work, saves the pipeline cache, and frees everything the device owns, released or not.
func (d *Device) Close() error {
	d.closing.Store(true)
	d.compiling.Wait()
	err := errors.Join(d.wait(&d.work, d.last(&d.work)), d.wait(&d.uploads, d.last(&d.uploads)))
	if saveErr := d.saveCache(); err == nil {
		err = saveErr
	}
	for b := range d.buffers {
		b.Release()
	}
	for p := range d.programs {
		p.Release()
	}
	d.mu.Lock()
	for _, q := range []*queue{&d.work, &d.uploads} {
		for _, b := range q.graveyard { // not empty only when the device was lost
			b.destroy()
		}
		q.graveyard = nil
	}
	for _, k := range d.kernels {
		k.destroy()
	}
	d.destroyPools()
	d.mu.Unlock()
	d.native.Destroy()
	d.validation.collect(d.instance)
	d.instance.Destroy()
	return err
}
