package main

import (
	"fmt"
	"io"
	"time"

	"anyport/proxy/upstream"
)

// printUpstreams tells of each route's upstreams how they do.
func (d *daemonStatus) printUpstreams(w io.Writer) {
	fmt.Fprintln(w, "\nROUTE\tUPSTREAM\tWEIGHT\tSTATE\tSINCE\tOPEN\tFAILED CONNECTS\tREASON")
	for _, r := range d.Routes {
		for _, u := range r.Upstreams {
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%d\t%d\t%s\n", r.Name, u.Upstream, u.Weight, upstreamState(&u),
				u.Since.Format(time.DateTime), u.Active, u.Failures, u.Reason)
		}
	}
}

func upstreamState(u *upstream.Info) string {
	if u.Backup {
		return string(u.State) + ", backup"
	}
	return string(u.State)
}
