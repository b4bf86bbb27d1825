package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
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

// printNames tells of the upstreams' DNS names, if there are any, what they lead to and until when.
func (d *daemonStatus) printNames(w io.Writer) {
	if len(d.Names) == 0 {
		return
	}
	fmt.Fprintln(w, "\nNAME\tADDRESSES\tTTL\tRESOLVED\tNEXT LOOK-UP\tFAILURES\tREASON")
	for _, n := range d.Names {
		resolved := "never"
		if n.Resolved != nil {
			resolved = n.Resolved.Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%v\t%s\t%s\t%d\t%s\n", n.Name, addressList(n.Addresses),
			time.Duration(n.TTL*float64(time.Second)), resolved, n.Next.Format(time.DateTime), n.Failures, n.Error)
	}
}

func addressList(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "-"
	}
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, ",")
}
