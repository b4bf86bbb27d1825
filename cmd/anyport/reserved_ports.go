package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"anyport/conf/rule"
)

// reservedPorts keeps NAT ports in net.ipv4.ip_local_reserved_ports (ip-sysctl.rst), so that the kernel gives none of them
// to a socket that asks for any. Ports that are there already are somebody else's and stay. Those that it adds are noted
// in a file before, so that a process after one that was killed knows what to take out.
type reservedPorts struct {
	sysctl string
	note   string
	owner  string // the network namespace that the note is about
}

const reservedSysctl = "/proc/sys/net/ipv4/ip_local_reserved_ports"

// openReservedPorts is for the network namespace of the process. It changes nothing.
func openReservedPorts() (*reservedPorts, error) {
	inode, err := netnsInode()
	if err != nil {
		return nil, err
	}
	cookie, err := netnsCookie()
	if err != nil {
		return nil, err
	}
	return &reservedPorts{reservedSysctl, filepath.Join(controlDir, fmt.Sprintf("%d.ports", inode)), cookie}, nil
}

// netnsCookie returns a number that no other network namespace has until the next boot, as an inode might
// (SO_NETNS_COOKIE in socket(7), Linux 5.14).
func netnsCookie() (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("read namespace's cookie: %w", err)
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return "", fmt.Errorf("read namespace's cookie: %w", err)
	}
	return strconv.FormatUint(cookie, 10), nil
}

// set makes the ports that are ours these: nil takes all out again.
func (r *reservedPorts) set(wanted []rule.PortRange) error {
	if err := r.replace(wanted); err != nil {
		return fmt.Errorf("reserve NAT ports: %w", err)
	}
	return nil
}

func (r *reservedPorts) replace(wanted []rule.PortRange) error {
	listed, err := readPorts(r.sysctl)
	if err != nil {
		return err
	}
	ours, err := r.noted()
	if err != nil {
		return err
	}
	var added, known, next portSet
	for _, p := range wanted {
		for port := int(p.First); port <= int(p.Last); port++ {
			added[port] = !listed[port] || ours[port]
		}
	}
	for port := range next {
		known[port] = ours[port] || added[port]
		next[port] = listed[port] && !ours[port] || added[port]
	}
	if next == listed && added == ours {
		return nil
	}
	text := next.String() + "\n"
	if len(text) >= os.Getpagesize() { // the kernel takes no more at once (proc_do_large_bitmap)
		return fmt.Errorf("%s would have %d bytes", r.sysctl, len(text))
	}
	if err := r.writeNote(&known); err != nil { // both, until the kernel has the new ones
		return err
	}
	if err := os.WriteFile(r.sysctl, []byte(text), 0); err != nil {
		return err
	}
	return r.writeNote(&added)
}

// noted reads which ports an earlier call has added in this network namespace.
func (r *reservedPorts) noted() (ports portSet, err error) {
	text, err := os.ReadFile(r.note)
	if errors.Is(err, fs.ErrNotExist) {
		return ports, nil
	}
	if err != nil {
		return ports, err
	}
	owner, list, _ := strings.Cut(string(text), " ")
	if owner != r.owner {
		return ports, nil // of a namespace that has gone
	}
	return parsePorts(list)
}

// writeNote replaces the note in one step; none is kept of no ports.
func (r *reservedPorts) writeNote(ports *portSet) error {
	if *ports == (portSet{}) {
		if err := os.Remove(r.note); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := os.WriteFile(r.note+".new", []byte(r.owner+" "+ports.String()+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(r.note+".new", r.note)
}

// portSet tells of each port whether it is in the set.
type portSet [1 << 16]bool

func readPorts(path string) (portSet, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return portSet{}, err
	}
	return parsePorts(string(text))
}

// parsePorts reads "8080,9148-9150\n".
func parsePorts(list string) (ports portSet, err error) {
	for _, term := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == '\n' }) {
		r, err := parsePortRange(term)
		if err != nil {
			return ports, err
		}
		for port := int(r.First); port <= int(r.Last); port++ {
			ports[port] = true
		}
	}
	return ports, nil
}

// String is the reverse of parsePorts.
func (s *portSet) String() string {
	var terms []string
	for first := 0; first < len(s); first++ {
		if !s[first] {
			continue
		}
		last := first
		for last+1 < len(s) && s[last+1] {
			last++
		}
		term := strconv.Itoa(first)
		if last > first {
			term += "-" + strconv.Itoa(last)
		}
		terms = append(terms, term)
		first = last
	}
	return strings.Join(terms, ",")
}
