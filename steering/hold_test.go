package steering

import (
	"errors"
	"io"
	"testing"

	"anyport/bench/netlab"
)

func hold(t *testing.T, s *Steering) io.Closer {
	t.Helper()
	holder, err := s.Hold()
	if err != nil {
		t.Fatal(err)
	}
	return holder
}

// A held program goes on without its pins, through a publication as well, and ends with its holder.
func TestHold(t *testing.T) {
	w := newWorld(t)
	s, err := Load(w.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	holder := hold(t, s)
	publish(t, s, steerAll())
	if err := removeDir(s.dir); err != nil {
		t.Fatal(err)
	}
	if n := w.attached(); n != 1 {
		t.Errorf("%d programs are attached without pins, want 1", n)
	}
	if err := holder.Close(); err != nil {
		t.Error(err)
	}
	netlab.Eventually(t, "the program is gone", func() bool { return w.attached() == 0 })
	if _, err := s.Hold(); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("Hold of nothing: %v, want ErrNotLoaded", err)
	}
}

// Unload ends a program that somebody holds.
func TestUnloadHeld(t *testing.T) {
	w := newWorld(t)
	s, err := Load(w.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	holder := hold(t, s)
	defer holder.Close()
	if err := s.Unload(); err != nil {
		t.Fatal(err)
	}
	if n := w.attached(); n != 0 {
		t.Errorf("%d programs are attached after Unload, want none", n)
	}
}
