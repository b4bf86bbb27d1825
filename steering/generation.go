package steering

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"anyport/bpf"
)

// Generation describes a rule set that is or was live.
type Generation struct {
	Number    uint64    // 0 is the empty set that Load begins with
	Published time.Time // when its pins were made
	Rules     int       // how many it has, beside the defaults
	ProgramID uint32    // as bpftool shows it; 0 if this process may not know it
	Tag       string    // of the program; "" if this process may not know it
	Current   bool      // it is the program of this version; any other is replaced by the next Publish or Upgrade
}

// generation is an open generation.
type generation struct {
	number  uint64
	dir     string
	program *ebpf.Program // nil if this process may not open it
}

func (g *generation) close() { g.program.Close() }

// errNoGeneration is met by readers while a writer exchanges generations; the next look finds the new one.
var errNoGeneration = fmt.Errorf("the live generation is being replaced: %w", fs.ErrNotExist)

// liveGeneration opens the generation whose program the link holds: the link is what decides, and pins of another
// generation are left over from a crash or about to become live.
func liveGeneration(dir string, program ebpf.ProgramID) (*generation, error) {
	numbers, err := generationNumbers(dir)
	if err != nil {
		return nil, goneIsNotLoaded(err)
	}
	for _, n := range numbers {
		g := &generation{number: n, dir: generationDir(dir, n)}
		if g.program, err = ebpf.LoadPinnedProgram(filepath.Join(g.dir, pinProgram), nil); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue // half made, or half removed
			}
			return nil, fmt.Errorf("open pinned program: %w", err)
		}
		if id, err := programID(g.program); err != nil || id == program {
			return g, err
		}
		g.close()
	}
	return nil, errNoGeneration
}

func programID(p *ebpf.Program) (ebpf.ProgramID, error) {
	info, err := p.Info()
	if err != nil {
		return 0, fmt.Errorf("read program info: %w", err)
	}
	id, _ := info.ID() // known since Linux 4.13
	return id, nil
}

// newestGeneration is what a process that may not open the link takes for the live generation. It is wrong only between
// a publisher's last steps, or after a crash there until the next one repairs it; counter ids mean the same in both.
func newestGeneration(dir string) (*generation, error) {
	numbers, err := generationNumbers(dir)
	if err != nil {
		return nil, goneIsNotLoaded(err)
	}
	if len(numbers) == 0 {
		return nil, errNoGeneration
	}
	n := slices.Max(numbers)
	return &generation{number: n, dir: generationDir(dir, n)}, nil
}

// open opens the live generation. The caller closes it.
func (s *Steering) open() (*generation, error) {
	l, program, err := s.attachment()
	if errors.Is(err, fs.ErrPermission) {
		return newestGeneration(s.dir)
	}
	if err != nil {
		return nil, err
	}
	l.Close()
	return liveGeneration(s.dir, program)
}

// readAttempts is how many generations in a row may vanish under a reader before it gives up.
const readAttempts = 10

// read runs fn on the live generation, again if a publisher replaced it meanwhile.
func (s *Steering) read(fn func(*generation) error) error {
	var err error
	for range readAttempts {
		var g *generation
		if g, err = s.open(); err == nil {
			err = fn(g)
			g.close()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}

// Generation describes the live generation. A process that may not open the link or the program learns no more than the
// number, the time and the count of rules.
func (s *Steering) Generation() (Generation, error) {
	var info Generation
	err := s.read(func(g *generation) (err error) {
		info, err = g.describe()
		return err
	})
	if err != nil {
		return Generation{}, fmt.Errorf("read generation: %w", explainPrivilege(err))
	}
	return info, nil
}

func (g *generation) describe() (Generation, error) {
	d := Generation{Number: g.number}
	st, err := os.Stat(g.dir)
	if err != nil {
		return d, err
	}
	d.Published = st.ModTime()
	list, err := g.rules()
	if err != nil {
		return d, err
	}
	for _, r := range list[bpf.SteerCounterIdCOUNTER_RULES:] {
		if r.Generation == g.number {
			d.Rules++
		}
	}
	if g.program == nil {
		return d, nil
	}
	info, err := g.program.Info()
	if err != nil {
		return d, fmt.Errorf("read program info: %w", err)
	}
	id, _ := info.ID()
	d.ProgramID, d.Tag = uint32(id), info.Tag
	d.Current, err = isCurrent(g.program)
	return d, err
}
