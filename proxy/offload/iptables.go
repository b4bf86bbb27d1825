package offload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tableInfo is struct ipt_getinfo, and struct ip6t_getinfo (linux/netfilter_ipv4/ip_tables.h).
type tableInfo struct {
	name       [32]byte
	validHooks uint32
	entries    [numHooks]uint32 // where the rules of a hook begin
	underflows [numHooks]uint32 // where its policy is
	count      uint32
	size       uint32
}

const numHooks = 5 // NF_INET_NUMHOOKS

// legacyFamily is a family that iptables-legacy has tables for.
type legacyFamily struct {
	tool          string
	names         string // of the tables that have been in use in this network namespace
	domain, level int
	getInfo       uintptr // socket option: IPT_SO_GET_INFO, IP6T_SO_GET_INFO
}

var legacyFamilies = []legacyFamily{
	{"iptables", "/proc/thread-self/net/ip_tables_names", unix.AF_INET, unix.SOL_IP, 64},
	{"ip6tables", "/proc/thread-self/net/ip6_tables_names", unix.AF_INET6, unix.SOL_IPV6, 64},
}

// legacyRules returns a table of the family that has rules which packets would pass by, or "".
func (l legacyFamily) legacyRules(d detour) (table string, err error) {
	text, err := os.ReadFile(l.names)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("list %s tables: %w", l.tool, err)
	}
	for name := range strings.FieldsSeq(string(text)) {
		info, err := l.info(name)
		if err != nil {
			return "", fmt.Errorf("look at %s table %s: %w", l.tool, name, err)
		}
		if d.skipsTable(info) {
			return name, nil
		}
	}
	return "", nil
}

// skipsTable reports whether one of the detour's hooks has rules. A policy that drops with no rule before it lets no
// flow begin.
func (d detour) skipsTable(i *tableInfo) bool {
	for _, hook := range d.inet {
		if hook < numHooks && i.validHooks>>hook&1 != 0 && i.entries[hook] != i.underflows[hook] {
			return true
		}
	}
	return false
}

func (l legacyFamily) info(table string) (*tableInfo, error) {
	fd, err := unix.Socket(l.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var info tableInfo
	copy(info.name[:len(info.name)-1], table)
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(l.level), l.getInfo,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return nil, errno
	}
	return &info, nil
}
