package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

// What the daemon tells whoever started it: sd_notify(3), "Well-known assignments".
const (
	notifyReady     = "READY=1"
	notifyReloading = "RELOADING=1"
	notifyStopping  = "STOPPING=1"
)

// notifyTimeout bounds what a receiver that does not read costs. Libraries for this wait for it without a limit, and the
// daemon would obey no signal meanwhile.
const notifyTimeout = time.Second

// sendNotify sends state to the socket that the environment names, if it names one.
func sendNotify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify of %s: %w", state, err)
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(notifyTimeout)); err != nil {
		return fmt.Errorf("notify of %s: %w", state, err)
	}
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify of %s: %w", state, err)
	}
	return nil
}
