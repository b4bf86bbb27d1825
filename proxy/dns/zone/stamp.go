package zone

import (
	"slices"
	"syscall"
	"time"
)

// stamp tells one state of a file from another without reading it. The zero value is a file that is not there.
type stamp struct {
	dev, inode   uint64
	size         int64
	mtime, ctime syscall.Timespec
	young        bool // changed so shortly before that another change might bear the same times
}

// clockStep is more than the step of the clock that file times come from: a jiffy, at most 10 ms, before Linux 6.13.
const clockStep = 50 * time.Millisecond

func stampOf(path string) stamp {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return stamp{}
	}
	return stamp{
		dev: uint64(st.Dev), inode: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim,
		young: time.Since(time.Unix(st.Mtim.Unix())) < clockStep,
	}
}

// fileSet is files and the states that they were in when they were read.
type fileSet struct {
	names  []string
	stamps []stamp
}

// now returns the states that the files are in.
func (f *fileSet) now() []stamp {
	list := make([]stamp, len(f.names))
	for i, name := range f.names {
		list[i] = stampOf(name)
	}
	return list
}

// same reports whether the files are surely what they were.
func same(before, now []stamp) bool {
	if !slices.Equal(before, now) {
		return false
	}
	return !slices.ContainsFunc(before, func(s stamp) bool { return s.young })
}
