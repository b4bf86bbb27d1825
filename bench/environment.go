package bench

import (
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// Environment is what a result depends on besides the code.
type Environment struct {
	Kernel   string            `json:"kernel"`
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	Load     string            `json:"load"` // /proc/loadavg at the start
	Go       string            `json:"go"`
	Version  string            `json:"anyport"`
	Sysctls  map[string]string `json:"sysctls"`  // of the host; those of the namespaces are the kernel's defaults
	Programs map[string]string `json:"programs"` // name -> version line; "" where it is missing
}

// relevantSysctls change what a packet costs.
var relevantSysctls = []string{
	"net.core.bpf_jit_enable", "net.core.bpf_jit_harden", "net.core.netdev_budget", "net.core.rmem_max",
	"net.ipv4.udp_early_demux", "net.ipv4.tcp_early_demux", "net.ipv4.tcp_congestion_control",
	"net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets", "kernel.unprivileged_bpf_disabled",
}

// Describe returns the environment; version is anyport's own, and each program is asked for its own.
func Describe(version string, programs ...string) Environment {
	e := Environment{
		Kernel: kernel(), CPU: cpuModel(), Cores: runtime.NumCPU(), Load: firstLine("/proc/loadavg"),
		Go: runtime.Version(), Version: version,
		Sysctls: make(map[string]string), Programs: make(map[string]string),
	}
	for _, key := range relevantSysctls {
		if value := firstLine("/proc/sys/" + strings.ReplaceAll(key, ".", "/")); value != "" {
			e.Sysctls[key] = value
		}
	}
	for _, program := range programs {
		e.Programs[program] = versionOf(program)
	}
	return e
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
}

func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func firstLine(path string) string {
	text, _ := os.ReadFile(path) // a file that is missing has no line
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// versionNumber is what tells a line about a version from one about a wrong flag.
var versionNumber = regexp.MustCompile(`[0-9]+\.[0-9]+`)

// versionOf returns the first line with a version number that a program prints when it is asked, or "".
func versionOf(program string) string {
	command, err := netlab.FindProgram(program)
	if err != nil {
		return ""
	}
	for _, flag := range []string{"--version", "-v"} {
		// A program that does not know the flag says so, and pdns_server exits with 99 when it does.
		out, _ := exec.Command(command[0], append(slices.Clone(command[1:]), flag)...).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if versionNumber.MatchString(line) {
				return strings.TrimSpace(line)
			}
		}
	}
	return ""
}
