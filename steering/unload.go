package steering

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Unload removes steering from a network namespace, whichever version has loaded it: the link, and with it every effect
// on packets, then the pins. Sockets stay open, local routes stay as they are. It returns ErrNotLoaded if there is
// nothing to remove; what an interrupted Load or Unload has left is removed.
func Unload(o Options) error {
	s, err := newSteering(o)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Unload()
}

// Unload is like the function Unload. The Steering is of no more use after, but for Close.
func (s *Steering) Unload() error {
	err := s.opts.locked(func() error {
		if _, err := os.Stat(s.dir); errors.Is(err, fs.ErrNotExist) {
			return ErrNotLoaded
		}
		return s.opts.run([]step{
			{"detach", s.detach},
			{"remove link", s.removeLink},
			{"remove pins", func() error { return removeDir(s.dir) }},
		})
	})
	if err != nil && !errors.Is(err, ErrNotLoaded) {
		return fmt.Errorf("unload steering: %w", explainPrivilege(err))
	}
	return err
}

// detach ends the program's effect at once; without a link it has none.
func (s *Steering) detach() error {
	l, _, err := openLink(s.dir)
	if errors.Is(err, ErrNotLoaded) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.Close()
	return l.Detach()
}

func (s *Steering) removeLink() error {
	if err := os.Remove(filepath.Join(s.dir, pinLink)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove link: %w", err)
	}
	return nil
}
