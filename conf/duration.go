package conf

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Limits of a duration: finer than the timers of an epoll loop, or longer than anyone waits, is a slip of the pen.
const (
	minDuration = time.Millisecond
	maxDuration = 30 * 24 * time.Hour
)

// Limits of what the kernel times for us. It counts keepalive in seconds, at most 32767 of them, and a third of it is
// the time between two probes; TCP_USER_TIMEOUT below a second or so is less than a retransmission takes (tcp(7)).
const (
	minKeepalive   = 3 * time.Second
	maxKeepalive   = 9 * time.Hour
	minUserTimeout = time.Second
	maxUserTimeout = 24 * time.Hour
)

const durationHint = `write it like "500ms", "3s", "1m30s" or "1h"`

// parseTimeout reads a duration, or "none" as 0.
func parseTimeout(text string) (time.Duration, *finding) {
	return parseOptional(text, minDuration, maxDuration)
}

func parseKeepalive(text string) (time.Duration, *finding) {
	return parseOptional(text, minKeepalive, maxKeepalive)
}

func parseUserTimeout(text string) (time.Duration, *finding) {
	return parseOptional(text, minUserTimeout, maxUserTimeout)
}

func parseProgress(text string) (time.Duration, *finding) {
	return parseOptional(text, time.Second, maxDuration)
}

// parseOptional reads a duration between two bounds, or "none" as 0.
func parseOptional(text string, least, most time.Duration) (time.Duration, *finding) {
	if text == "none" {
		return 0, nil
	}
	return parseDuration(text, least, most, `; "none" disables it`)
}

// parseInterval reads the time between two rounds of something that never stops.
func parseInterval(text string) (time.Duration, *finding) {
	return parseDuration(text, time.Second, maxDuration, "")
}

func parseDuration(text string, least, most time.Duration, orNone string) (time.Duration, *finding) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, refuse(durationHint+orNone, "%s", describeDuration(text))
	case d < least:
		return 0, refuse(durationHint+orNone, "%q is too short; %v is the least", text, least)
	case d > most:
		return 0, refuse(durationHint+orNone, "%q is too long; %gh is the most", text, most.Hours())
	}
	return d, nil
}

// describeDuration says what is wrong with a text that [time.ParseDuration] refuses.
func describeDuration(text string) string {
	number := strings.TrimRightFunc(text, unicode.IsLetter)
	unit := text[len(number):]
	switch {
	case number == "" || strings.Trim(number, "0123456789.") != "":
		return fmt.Sprintf("%q is no duration", text)
	case unit == "":
		return fmt.Sprintf("%q has no unit", text)
	}
	return fmt.Sprintf("%q has the unknown unit %q", text, unit)
}
