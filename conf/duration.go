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

const durationHint = `write it like "500ms", "3s", "1m30s" or "1h"`

// parseTimeout reads a duration, or "none" as 0.
func parseTimeout(text string) (time.Duration, *finding) {
	if text == "none" {
		return 0, nil
	}
	return parseDuration(text, minDuration, `; "none" disables it`)
}

// parseInterval reads the time between two rounds of something that never stops.
func parseInterval(text string) (time.Duration, *finding) {
	return parseDuration(text, time.Second, "")
}

func parseDuration(text string, least time.Duration, orNone string) (time.Duration, *finding) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, refuse(durationHint+orNone, "%s", describeDuration(text))
	case d < least:
		return 0, refuse(durationHint+orNone, "%q is too short; %v is the least", text, least)
	case d > maxDuration:
		return 0, refuse(durationHint+orNone, "%q is too long; 720h is the most", text)
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
