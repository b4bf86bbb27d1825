package proxy

import (
	"errors"
	"fmt"

	"anyport/conf"
	"anyport/proxy/offload"
)

// TransmitInfo is how trains of datagrams leave, and why.
type TransmitInfo struct {
	Way    string `json:"way"`    // "tcx", "clsact" or "raw"
	Reason string `json:"reason"` // "configured", or what the other ways lack
}

// Transmit returns how trains of datagrams leave now.
func (s *Server) Transmit() TransmitInfo {
	if s.transmit != nil {
		if why := s.transmit.Suspended(); why != "" {
			return TransmitInfo{Way: conf.TransmitRaw.String(), Reason: s.transmitInfo.Way + " is suspended: " + why}
		}
	}
	return s.transmitInfo
}

// openTransmit opens the way that is wanted, or the first that works: a way that is named and does not is an error.
func (s *Server) openTransmit(want conf.Transmit, workers int) error {
	ways := []offload.Way{offload.TCX, offload.Clsact}
	switch want {
	case conf.TransmitTCX:
		ways = ways[:1]
	case conf.TransmitClsact:
		ways = ways[1:]
	case conf.TransmitRaw:
		s.transmitInfo = TransmitInfo{Way: want.String(), Reason: "configured"}
		return nil
	}
	var failed error
	for _, way := range ways {
		transmit, err := offload.OpenTransmit(way, workers)
		if err == nil {
			s.transmitAuto = want == conf.TransmitAuto
			s.transmit, s.transmitInfo = transmit, TransmitInfo{Way: way.String(), Reason: reason(want, failed)}
			return nil
		}
		failed = errors.Join(failed, err)
	}
	if want != conf.TransmitAuto {
		return fmt.Errorf("udp_transmit = %q: %w", want, failed)
	}
	s.transmitInfo = TransmitInfo{Way: conf.TransmitRaw.String(), Reason: reason(want, failed)}
	return nil
}

// reason tells why a way was taken: it was named, or others before it have failed, or it is the first.
func reason(want conf.Transmit, failed error) string {
	switch {
	case want != conf.TransmitAuto:
		return "configured"
	case failed != nil:
		return failed.Error()
	}
	return "the kernel has it"
}
