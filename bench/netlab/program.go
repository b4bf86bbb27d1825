package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// FindProgram returns the command line that runs a program: from PATH, or else from the folder that e2e/peers.sh
// unpacks packages into, with the shared libraries that came with them. The folder is $PEERS, by default .cache/peers
// in the working directory or the nearest one above it that has it. The error matches exec.ErrNotFound.
func FindProgram(name string) ([]string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return []string{path}, nil
	}
	peers := peersFolder()
	for _, dir := range []string{"usr/sbin", "usr/bin", "sbin", "bin"} {
		path := filepath.Join(peers, dir, name)
		if peers != "" && isExecutable(path) {
			return []string{"env", "LD_LIBRARY_PATH=" + libraryPath(peers), path}, nil
		}
	}
	return nil, fmt.Errorf("find program: %w", err)
}

// RequireProgram skips the test, or fails it in CI, unless FindProgram finds every one of the programs.
func RequireProgram(t TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := FindProgram(name); err != nil {
			Missing(t, "the program "+name)
		}
	}
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func peersFolder() string {
	if dir := os.Getenv("PEERS"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		peers := filepath.Join(dir, ".cache", "peers")
		if info, err := os.Stat(peers); err == nil && info.IsDir() {
			return peers
		}
	}
	return ""
}

// libraryPath lists the folders of Debian's multiarch layout (usr/lib/x86_64-linux-gnu) that hold libraries.
func libraryPath(peers string) string {
	var dirs []string
	for _, pattern := range []string{"usr/lib/*-linux-gnu*", "lib/*-linux-gnu*", "usr/lib", "lib"} {
		found, _ := filepath.Glob(filepath.Join(peers, pattern)) // the pattern is valid
		dirs = append(dirs, found...)
	}
	return strings.Join(dirs, ":")
}
