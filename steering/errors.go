package steering

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/cilium/ebpf"
)

var (
	// ErrLoaded is returned by Load where steering is loaded already.
	ErrLoaded = errors.New("steering is already loaded in this network namespace")
	// ErrNotLoaded is returned where nothing is loaded, or not any more.
	ErrNotLoaded = errors.New("steering is not loaded in this network namespace")
	// ErrSchema matches a SchemaError.
	ErrSchema = errors.New("pinned maps have another layout")
)

// Hint returns the advice that err, or an error it wraps, has for the operator, or "".
func Hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// UnsupportedError says that the kernel lacks something. It matches ebpf.ErrNotSupported.
type UnsupportedError struct {
	Feature string // "sk_lookup programs"
	Least   string // the kernel version that brought it: "5.9"
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("the kernel does not support %s, which came with Linux %s", e.Feature, e.Least)
}

// Is reports whether target is ebpf.ErrNotSupported.
func (e *UnsupportedError) Is(target error) bool { return target == ebpf.ErrNotSupported }

// Hint names the kernel that is new enough for everything here, as [Probe] checks it.
func (e *UnsupportedError) Hint() string {
	return "use Linux 5.15 or later, built with CONFIG_BPF_SYSCALL and CONFIG_NET_NS"
}

// PrivilegeError says that the process may not do something. It matches os.ErrPermission.
type PrivilegeError struct {
	Err error // what was refused, with its errno
}

func (e *PrivilegeError) Error() string { return e.Err.Error() }

// Unwrap returns the refusal.
func (e *PrivilegeError) Unwrap() error { return e.Err }

// Is reports whether target is os.ErrPermission.
func (e *PrivilegeError) Is(target error) bool { return target == os.ErrPermission }

// Hint names the capabilities (capabilities(7)).
func (e *PrivilegeError) Hint() string {
	return "run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (CAP_SYS_ADMIN too if bpffs is not mounted)"
}

// explainPrivilege turns a lack of privilege into a PrivilegeError and leaves other errors alone.
func explainPrivilege(err error) error {
	var already *PrivilegeError
	if err == nil || !errors.Is(err, os.ErrPermission) || errors.As(err, &already) {
		return err
	}
	return &PrivilegeError{err}
}

// ipv6OffError says that a prefix cannot be local because IPv6 is switched off.
type ipv6OffError struct {
	prefix netip.Prefix
}

func (e *ipv6OffError) Error() string {
	return fmt.Sprintf("add local route %s: IPv6 is off on lo", e.prefix)
}

// Hint tells the way on.
func (e *ipv6OffError) Hint() string {
	return "sysctl net.ipv6.conf.lo.disable_ipv6=0, or serve no IPv6 prefix"
}

// SchemaError says that the pinned maps were made by a version that lays them out differently. It matches ErrSchema.
type SchemaError struct {
	Found, Want uint32
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("pinned maps have schema %d, this version has %d", e.Found, e.Want)
}

// Is reports whether target is ErrSchema.
func (e *SchemaError) Is(target error) bool { return target == ErrSchema }

// Hint tells the way on.
func (e *SchemaError) Hint() string {
	return "run the version that loaded it, or unload and load anew (nothing is steered or refused in between)"
}

// TooManyRulesError says that a rule set has more rules than there are counters.
type TooManyRulesError struct {
	Rules, Max int
}

func (e *TooManyRulesError) Error() string {
	return fmt.Sprintf("%d rules, but steering was loaded for at most %d", e.Rules, e.Max)
}

// Hint tells the way on.
func (e *TooManyRulesError) Hint() string {
	return "unload, and load anew with a larger MaxRules"
}

// SocketError says why a socket cannot take a slot.
type SocketError struct {
	Reason string // "it is an MPTCP socket"
	Advice string // or ""
	Err    error  // of the kernel, or nil
}

func (e *SocketError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("socket is not fit for steering: %s: %v", e.Reason, e.Err)
	}
	return "socket is not fit for steering: " + e.Reason
}

// Unwrap returns the kernel's error, if there was one.
func (e *SocketError) Unwrap() error { return e.Err }

// Hint returns Advice.
func (e *SocketError) Hint() string { return e.Advice }
