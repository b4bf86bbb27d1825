package netlab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// processesIn returns the processes, this one left out, whose main thread is in one of the namespaces. Only the lab's
// own processes can be: nothing else has ever been able to reach its namespaces.
func processesIn(inodes map[uint64]string) []int {
	links, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	var pids []int
	for _, link := range links {
		if _, ok := inodes[linkInode(link)]; !ok {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// linkInode returns the number in a link such as "net:[4026531840]", or 0.
func linkInode(path string) uint64 {
	target, err := os.Readlink(path)
	if err != nil {
		return 0 // the process is gone or a zombie
	}
	return namespaceInode(target)
}

func namespaceInode(s string) uint64 {
	digits, ok := strings.CutPrefix(s, "net:[")
	if !ok {
		return 0
	}
	inode, _ := strconv.ParseUint(strings.TrimSuffix(digits, "]"), 10, 64)
	return inode
}

// holders describes what keeps the namespaces alive: processes, mounts, and threads and descriptors of this process.
func holders(inodes map[uint64]string) []string {
	var held []string
	for _, pid := range processesIn(inodes) {
		held = append(held, fmt.Sprintf("process %d", pid))
	}
	held = append(held, mountHolders(inodes)...)
	held = append(held, threadHolders(inodes)...)
	return append(held, descriptorHolders(inodes)...)
}

func threadHolders(inodes map[uint64]string) []string {
	links, _ := filepath.Glob("/proc/self/task/[0-9]*/ns/net")
	var held []string
	for _, link := range links {
		if name, ok := inodes[linkInode(link)]; ok {
			held = append(held, fmt.Sprintf("thread %s in %s", strings.Split(link, "/")[4], name))
		}
	}
	return held
}

func mountHolders(inodes map[uint64]string) []string {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var held []string
	for line := range strings.Lines(string(info)) {
		// proc(5): the fourth field is the root of the mount, the fifth its mount point.
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		if name, ok := inodes[namespaceInode(f[3])]; ok {
			held = append(held, fmt.Sprintf("mount %s of %s", f[4], name))
		}
	}
	return held
}

func descriptorHolders(inodes map[uint64]string) []string {
	links, _ := filepath.Glob("/proc/self/fd/[0-9]*")
	var held []string
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			continue
		}
		inode := namespaceInode(target)
		if strings.HasPrefix(target, "socket:") {
			inode = socketNamespace(filepath.Base(link))
		}
		if name, ok := inodes[inode]; ok {
			held = append(held, fmt.Sprintf("descriptor %s (%s) in %s", filepath.Base(link), target, name))
		}
	}
	return held
}

// socketNamespace returns the inode of the namespace that a socket of this process belongs to (SIOCGSKNS, Linux 4.10,
// net/socket.c), or 0.
func socketNamespace(fd string) uint64 {
	n, err := strconv.Atoi(fd)
	if err != nil {
		return 0
	}
	ns, err := unix.IoctlRetInt(n, unix.SIOCGSKNS)
	if err != nil {
		return 0
	}
	defer unix.Close(ns)
	var st unix.Stat_t
	if unix.Fstat(ns, &st) != nil {
		return 0
	}
	return st.Ino
}
