// Package computetest gives tests a device that is checked by the validation layer.
package computetest

import (
	"os"
	"sync"
	"testing"

	"lorikeet/compute"
)

var open = sync.OnceValues(func() (*compute.Device, error) {
	return compute.Open(compute.Options{Device: os.Getenv("LORIKEET_DEVICE"), Validation: validation()})
})

// validation is on where the layer is installed; LORIKEET_VALIDATION=off turns it off, =require makes its absence an error.
func validation() bool {
	switch os.Getenv("LORIKEET_VALIDATION") {
	case "off":
		return false
	case "require":
		return true
	}
	return compute.ValidationInstalled()
}

// Kernels is the variant of the kernels (see compute.Info.Variants) that tests run, as LORIKEET_KERNELS says. "": each that the
// device has, and models in the one that suits it.
func Kernels() string { return os.Getenv("LORIKEET_KERNELS") }

// Device returns the device that the tests of one process share. The test fails when there is none, and at its end when the validation
// layer had something to say. LORIKEET_DEVICE picks a device as compute.Options.Device does.
func Device(t testing.TB) *compute.Device {
	t.Helper()
	d, err := open()
	if err != nil {
		t.Fatal(err)
	}
	Check(t, d)
	return d
}

// Check fails the test at its end when the validation layer found something in the calls on d.
func Check(t testing.TB, d *compute.Device) {
	t.Cleanup(func() {
		for _, m := range d.ValidationMessages() {
			t.Error(m)
		}
	})
}
