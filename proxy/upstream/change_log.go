package upstream

import (
	"log/slog"
	"sync"
	"time"
)

// changesPerSecond bounds the log lines about members: when a network goes away, thousands change at once, and status
// and the metrics tell of each.
const changesPerSecond = 10

// changeLog writes lines about members that go out and come in.
type changeLog struct {
	logger *slog.Logger

	mu      sync.Mutex // guards the fields below
	second  time.Time  // when the one that lines counts began
	lines   int
	leftOut int // lines since the last one that was written
}

func (l *changeLog) warn(text string, args ...any) { l.write(l.logger.Warn, text, args) }
func (l *changeLog) info(text string, args ...any) { l.write(l.logger.Info, text, args) }

func (l *changeLog) write(log func(string, ...any), text string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.second) >= time.Second {
		l.second, l.lines = now, 0
	}
	if l.lines++; l.lines > changesPerSecond {
		l.leftOut++
		return
	}
	if l.leftOut > 0 {
		args = append(args, "left_out", l.leftOut)
		l.leftOut = 0
	}
	log(text, args...)
}
