package netlab

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BadUDPChecksums returns how many UDP datagrams the namespace's kernel has dropped for a wrong checksum, of both families.
func (n *Namespace) BadUDPChecksums() (bad int, err error) {
	err = n.Do(func() error {
		for _, file := range []string{"snmp", "snmp6"} {
			text, err := os.ReadFile("/proc/thread-self/net/" + file)
			if err != nil {
				return fmt.Errorf("read counters: %w", err)
			}
			bad += udpChecksumErrors(string(text))
		}
		return nil
	})
	return bad, err
}

// udpChecksumErrors reads /proc/net/snmp, which has a line of names and one of numbers, or snmp6, which has pairs.
func udpChecksumErrors(text string) (n int) {
	var names []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case words[0] == "Udp6InCsumErrors":
			fmt.Sscan(words[1], &n)
		case words[0] == "Udp:" && names == nil:
			names = words
		case words[0] == "Udp:":
			for i, name := range names {
				if name == "InCsumErrors" {
					fmt.Sscan(words[i], &n)
				}
			}
		}
	}
	return n
}

// SetTransmitChecksums is `ethtool -K LINK tx on|off` (linux/ethtool.h, linux/if.h): whether an interface leaves the
// checksums of what it sends to whoever needs them.
func (n *Namespace) SetTransmitChecksums(link string, on bool) error {
	err := n.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		value := struct{ command, data uint32 }{command: unix.ETHTOOL_STXCSUM}
		if on {
			value.data = 1
		}
		request := struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}{data: unsafe.Pointer(&value)}
		copy(request.name[:], link)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
		if errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("switch checksums of %s in %s: %w", link, n.name, err)
	}
	return nil
}

// SetTransmitChecksums switches the interfaces of a Trio by three bits: those of the client and of the upstream, which
// leave a checksum to others or not, and those of the proxy, which fill in what is left or leave it to the receiver.
func (t *Trio) SetTransmitChecksums(bits int) error {
	for i, d := range []struct {
		ns   *Namespace
		link string
	}{{t.Client, "proxy0"}, {t.Upstream, "proxy0"}, {t.Proxy, "client0"}, {t.Proxy, "upstream0"}} {
		if err := d.ns.SetTransmitChecksums(d.link, bits>>min(i, 2)&1 == 1); err != nil {
			return err
		}
	}
	return nil
}
