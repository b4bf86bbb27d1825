package udp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// The tables as /proc shows them on a little-endian machine.
const (
	procUDP = `   sl  local_address rem_address   st tx_queue rx_queue
  100: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0000000000000000 0
  101: 00000000:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0000000000000000 0
`
	procUDP6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr
  102: B80D0120000000000000000001000000:0050 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000
  103: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000
  104: 00000000000000000000000000000000:0052 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000
`
)

func TestReadBoundPorts(t *testing.T) {
	for _, c := range []struct{ addr, want string }{
		{"127.0.0.1", "map[53:true 81:true 82:true 8080:true]"},
		{"2001:db8::1", "map[80:true 82:true 8080:true]"},
		{"192.0.2.1", "map[82:true 8080:true]"},
	} {
		ports := make(map[uint16]bool)
		for _, text := range []string{procUDP, procUDP6} {
			must(t, readBoundPorts(strings.NewReader(text), netip.MustParseAddr(c.addr).As16(), ports))
		}
		if got := fmt.Sprint(ports); got != c.want {
			t.Errorf("%s: %s, want %s", c.addr, got, c.want)
		}
	}
	for _, line := range []string{"1:", "1: 0100007F", "1: 0100007F:GG", "1: 01000:0035", "1: 0100007X:0035"} {
		if err := readBoundPorts(strings.NewReader("headings\n"+line), [16]byte{}, nil); err == nil {
			t.Errorf("%q is understood", line)
		}
	}
}
