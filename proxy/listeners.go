package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"anyport/conf"
	"anyport/proxy/sock"
)

// listeners are the TCP listeners beside the first one: for each mss that routes ask for, what all that reach it by are
// told in their SYN-ACK.
type listeners struct {
	home  netip.AddrPort
	byMSS map[int]*mssListener
}

type mssListener struct {
	socket    *sock.Socket
	service   uint16    // whose slot it is in; ServiceProxy: none
	idleSince time.Time // since when no rule in force leads to it, as far as has been seen; zero: one does
}

// listenerGrace is how long a listener that no rule leads to any more waits for the handshakes that are under way: as
// long as the kernel repeats a SYN-ACK, 1+2+4+8+16+32 s (net.ipv4.tcp_synack_retries in ip-sysctl.rst).
const listenerGrace = 63 * time.Second

// ListenerInfo is a TCP listener for clients that are told an MSS.
type ListenerInfo struct {
	Service uint16 `json:"service"` // of the rules that lead to it
	MSS     int    `json:"mss"`
}

// Listeners returns the TCP listeners beside that of [conf.ServiceProxy] that are in a slot, by their services.
func (s *Server) Listeners() []ListenerInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []ListenerInfo{}
	for mss, l := range s.listeners.byMSS {
		if l.service != conf.ServiceProxy {
			list = append(list, ListenerInfo{l.service, mss})
		}
	}
	slices.SortFunc(list, func(a, b ListenerInfo) int { return int(a.Service) - int(b.Service) })
	return list
}

// addListeners opens the listeners that routes of g need and that are not there, and has all that they need steered to
// under the services that g's rules have for them.
func (s *Server) addListeners(g *Generation) error {
	for mss, service := range g.listeners() {
		l, err := s.listenerFor(mss)
		if err != nil {
			return fmt.Errorf("listen with mss = %d: %w", mss, err)
		}
		if err := s.assign(service, l.socket, s.udp.clients[0]); err != nil {
			return err
		}
		s.listeners.moveIn(l, service)
	}
	return nil
}

// moveIn notes that a listener is in the slot of a service, and no other listener any more.
func (l *listeners) moveIn(fresh *mssListener, service uint16) {
	for _, other := range l.byMSS {
		if other.service == service {
			other.service = conf.ServiceProxy
		}
	}
	fresh.service = service
}

// listeners returns each mss that a route has, with its service.
func (g *Generation) listeners() map[int]uint16 {
	needed := make(map[int]uint16)
	for i := range g.config.Routes {
		if r := &g.config.Routes[i]; r.Service != conf.ServiceProxy {
			needed[r.MSS] = r.Service
		}
	}
	return needed
}

// listenerFor returns the listener for an mss, a new one if need be, which no rule leads to yet.
func (s *Server) listenerFor(mss int) (*mssListener, error) {
	if l := s.listeners.byMSS[mss]; l != nil {
		return l, nil
	}
	socket, err := sock.ListenTCP(s.listeners.home)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(socket.SetMSS(mss), s.tcp.Listen(socket)); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	l := &mssListener{socket: socket, idleSince: time.Now()}
	s.listeners.byMSS[mss] = l
	return l, nil
}

// settleListeners lets go of listeners that the routes in force have not needed for long.
func (s *Server) settleListeners() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return
	}
	needed := s.current.listeners()
	for mss, l := range s.listeners.byMSS {
		_, isNeeded := needed[mss]
		switch {
		case isNeeded:
			l.idleSince = time.Time{}
		case l.idleSince.IsZero():
			l.idleSince = time.Now()
		case time.Since(l.idleSince) > listenerGrace:
			delete(s.listeners.byMSS, mss)
			s.tcp.Unlisten(l.socket)
		}
	}
}

// close closes the listeners of an engine that is closed.
func (l *listeners) close() error {
	var errs []error
	for _, one := range l.byMSS {
		errs = append(errs, one.socket.Close())
	}
	return errors.Join(errs...)
}
