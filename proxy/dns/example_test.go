package dns_test

import (
	"fmt"
	"log"
	"net/netip"

	"github.com/miekg/dns"

	steered "anyport/proxy/dns"
)

// Another DNS library on a steered prefix: here, the server of miekg/dns.
func ExampleListenPacket() {
	home := netip.MustParseAddrPort("127.53.0.4:0") // in earnest: steered.DefaultHome
	conn, err := steered.ListenPacket(home)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := steered.ListenTCP(home)
	if err != nil {
		log.Fatal(err)
	}
	// Now steer the prefix here, by package steering:
	//
	//	s.Assign(service, rule.UDP, conn)
	//	s.Assign(service, rule.TCP, listener)

	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = append(m.Answer, &dns.TXT{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET},
			Txt: []string{"from the address that was asked"},
		})
		if err := w.WriteMsg(m); err != nil {
			log.Print(err)
		}
	})
	udp := &dns.Server{PacketConn: conn, Handler: handler}
	tcp := &dns.Server{Listener: listener, Handler: handler}
	go udp.ActivateAndServe()
	go tcp.ActivateAndServe()
	defer udp.Shutdown()
	defer tcp.Shutdown()

	m, err := dns.Exchange(new(dns.Msg).SetQuestion("example.test.", dns.TypeTXT), conn.LocalAddr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Answer[0].(*dns.TXT).Txt[0])
	// Output: from the address that was asked
}
