package steering

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"anyport/bpf"
)

// Steering is the steering of one network namespace. It holds no more than the way there: whatever it is asked, it
// looks up, so that it sees what other processes do. Its methods are safe for concurrent use, by other processes as
// well.
type Steering struct {
	opts Options
	ns   *namespace
	dir  string
}

// newSteering opens the way to a namespace, whether anything is loaded there or not.
func newSteering(o Options) (*Steering, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	ns, err := openNamespace(o.Netns)
	if err != nil {
		return nil, explainPrivilege(err)
	}
	return &Steering{opts: o, ns: ns, dir: o.dir(ns)}, nil
}

// Open finds what Load has made, maybe in another process. It returns ErrNotLoaded if there is nothing, and an error
// that matches ErrSchema if another version with other tables made it. A program with another tag is no error: see
// Generation.Current. Read access to the pins is enough for Rules and Counters. The caller closes it.
func Open(o Options) (*Steering, error) {
	s, err := newSteering(o)
	if err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		s.Close()
		return nil, explainPrivilege(err)
	}
	return s, nil
}

// check returns nil if steering is loaded and of our schema.
func (s *Steering) check() error {
	if err := s.opts.checkBase(); err != nil {
		return err
	}
	l, _, err := s.attachment()
	if err == nil {
		l.Close()
	} else if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return s.checkSchema()
}

func (s *Steering) checkSchema() error {
	m, err := readMap(s.dir, bpf.SteerMapMeta)
	if err != nil {
		return goneIsNotLoaded(err)
	}
	defer m.Close()
	var meta bpf.SteerMeta
	if err := m.Lookup(uint32(0), &meta); err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	if meta.Schema != bpf.SteerSchemaSCHEMA {
		return &SchemaError{Found: uint32(meta.Schema), Want: uint32(bpf.SteerSchemaSCHEMA)}
	}
	return nil
}

// attachment opens the pinned link and returns the program that it holds. A link that is gone or detached, as the end
// of its namespace leaves it, or that of a namespace whose inode number has passed on to ours, is ErrNotLoaded.
func (s *Steering) attachment() (*link.NetNsLink, ebpf.ProgramID, error) {
	l, info, err := openLink(s.dir)
	if err != nil {
		return nil, 0, err
	}
	if uint64(info.NetNs().NetnsInode) != s.ns.inode {
		l.Close()
		return nil, 0, ErrNotLoaded
	}
	return l, info.Program, nil
}

// openLink opens the link that is pinned in dir.
func openLink(dir string) (*link.NetNsLink, *link.Info, error) {
	path := filepath.Join(dir, pinLink)
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return nil, nil, goneIsNotLoaded(err)
	}
	netnsLink, ok := l.(*link.NetNsLink)
	if !ok {
		l.Close()
		return nil, nil, fmt.Errorf("open pinned link: %s is of another kind", path)
	}
	info, err := netnsLink.Info()
	if err != nil {
		l.Close()
		return nil, nil, fmt.Errorf("read link: %w", err)
	}
	return netnsLink, info, nil
}

// Hold keeps the program in effect until the holder is closed, even if somebody removes its pins, as unmounting bpffs
// does: without it a running server would lose its traffic to whoever is bound to the wildcard. Unload ends the effect
// all the same. It returns ErrNotLoaded if nothing is loaded.
func (s *Steering) Hold() (io.Closer, error) {
	l, _, err := s.attachment()
	if errors.Is(err, ErrNotLoaded) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("hold steering: %w", explainPrivilege(err))
	}
	return l, nil
}

// Close lets go of the namespace. What is loaded stays loaded.
func (s *Steering) Close() error { return s.ns.close() }

// Namespace returns the inode number of the network namespace.
func (s *Steering) Namespace() uint64 { return s.ns.inode }
