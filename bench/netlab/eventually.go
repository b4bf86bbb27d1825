package netlab

import "time"

// Patience is how long Eventually waits. It is no measure of speed: on a busy machine everything takes its time.
const Patience = 20 * time.Second

// Eventually polls until ok is true, and fails the test if that does not come to pass.
func Eventually(t TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain until %s", Patience, what)
		}
	}
}
