package steering

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// ForeignProgram is another sk_lookup program in the namespace. All of them run for every lookup, in the order in which
// they were attached. The last socket that one of them selects gets the packet, whatever the others say; ours leaves a
// packet alone for which a program before it has selected one. Without a selection, one refusal is enough to refuse.
type ForeignProgram struct {
	Name      string // up to 15 bytes; "" if the process may not know it
	Tag       string // likewise
	ProgramID uint32
	LinkID    uint32 // as `bpftool link` shows it; 0 if the process may not know it
	Before    bool   // runs before ours, so that it outranks our rules; those after ours can override us
}

// ForeignPrograms lists the other sk_lookup programs in the namespace, in the order in which they run.
func (s *Steering) ForeignPrograms() ([]ForeignProgram, error) {
	list, err := s.foreignPrograms()
	if err != nil {
		return nil, fmt.Errorf("list foreign programs: %w", explainPrivilege(err))
	}
	return list, nil
}

func (s *Steering) foreignPrograms() ([]ForeignProgram, error) {
	query, err := link.QueryPrograms(link.QueryOptions{Target: s.ns.fd(), Attach: ebpf.AttachSkLookup})
	if err != nil {
		return nil, err
	}
	l, ours, err := s.attachment()
	if err != nil {
		return nil, err
	}
	l.Close()
	ourPlace := slices.IndexFunc(query.Programs, func(p link.AttachedProgram) bool { return p.ID == ours })
	links, err := s.links()
	if err != nil {
		return nil, err
	}
	var list []ForeignProgram
	for place, p := range query.Programs {
		if place == ourPlace {
			continue
		}
		f := ForeignProgram{ProgramID: uint32(p.ID), Before: place < ourPlace}
		if ids := links[p.ID]; len(ids) > 0 { // in the order of attachment, should it be attached twice
			f.LinkID, links[p.ID] = uint32(ids[0]), ids[1:]
		}
		if err := f.identify(); err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

// identify fills in the program's name and tag, for which the kernel asks CAP_SYS_ADMIN.
func (f *ForeignProgram) identify() error {
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(f.ProgramID))
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return fmt.Errorf("read program info: %w", err)
	}
	f.Name, f.Tag = info.Name, info.Tag
	return nil
}

// linkTries bounds how often links that somebody is just making are met in a row.
const linkTries = 100

// links returns the ids of the namespace's links by program, the oldest first; none without CAP_SYS_ADMIN. A link that is
// being made, anywhere on the host, cannot be looked at yet (EAGAIN, bpf_link_by_id in kernel/bpf/syscall.c), which ends
// the list: it is read again.
func (s *Steering) links() (links map[ebpf.ProgramID][]link.ID, err error) {
	for range linkTries {
		if links, err = s.listLinks(); !errors.Is(err, unix.EAGAIN) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return links, err
}

func (s *Steering) listLinks() (map[ebpf.ProgramID][]link.ID, error) {
	links := make(map[ebpf.ProgramID][]link.ID)
	var it link.Iterator
	defer it.Close()
	for it.Next() {
		n, ok := it.Link.(*link.NetNsLink)
		if !ok {
			continue
		}
		info, err := n.Info()
		if err != nil {
			return nil, fmt.Errorf("read link: %w", err)
		}
		at := info.NetNs()
		if uint64(at.NetnsInode) == s.ns.inode && ebpf.AttachType(at.AttachType) == ebpf.AttachSkLookup {
			links[info.Program] = append(links[info.Program], it.ID)
		}
	}
	if err := it.Err(); err != nil && !errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	return links, nil
}
