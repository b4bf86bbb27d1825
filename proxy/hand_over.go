package proxy

import (
	"io"

	"anyport/proxy/udp"
)

// ExportFlows ends the UDP data plane and writes its flows, for the Server of the next process to import. What clients and
// upstreams send from now on waits in the sockets: before, everything should have been steered to those of the next
// process, or that process should have been given these. TCP goes on.
func (s *Server) ExportFlows(to io.Writer) error { return udp.Export(s.udp.engines, to) }

// ImportFlows takes over flows that another Server has exported, as far as the generation in force still claims them. The
// number of UDP workers may be another one. It returns how many it has taken, and how many have ended, each with a line in
// the access log. It is to be called between Apply and Run, and returns [udp.ErrFlowsVersion] or [udp.ErrFlowsDamaged], and
// has taken nothing then.
func (s *Server) ImportFlows(from io.Reader) (kept, ended int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return udp.Import(s.udp.engines, from, s.current.udpRoutes())
}
