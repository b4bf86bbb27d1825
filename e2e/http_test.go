package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"anyport/bench/netlab"
)

// nginxConfig answers with the original destination, which nginx learns from the PROXY protocol header.
const nginxConfig = `
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path       %[1]s/proxy;
	fastcgi_temp_path     %[1]s/fastcgi;
	uwsgi_temp_path       %[1]s/uwsgi;
	scgi_temp_path        %[1]s/scgi;
	server {
		listen 10.2.0.2:8080 proxy_protocol;
		listen [fd00:2::2]:8080 proxy_protocol;
		return 200 "$proxy_protocol_server_addr $proxy_protocol_server_port $proxy_protocol_addr\n";
	}
}
`

// startNginx runs nginx in the upstream's namespace and waits until it answers.
func (w *world) startNginx() {
	w.t.Helper()
	conf := w.file("nginx.conf", fmt.Sprintf(nginxConfig, w.dir))
	p, err := w.Upstream.Start("nginx", "-e", "stderr", "-p", w.dir, "-c", conf)
	w.must(err)
	w.waitListening(w.Upstream, p, "10.2.0.2:8080")
}

// waitListening waits until something accepts TCP connections at addr.
func (w *world) waitListening(ns *netlab.Namespace, p *netlab.Process, addr string) {
	w.t.Helper()
	waitFor(w.t, "a server at "+addr, func() bool {
		select {
		case <-p.Done():
			w.t.Fatalf("the server for %s ended: %v\n%s", addr, p.Wait(), p.Output())
		default:
		}
		return ns.Do(func() error {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				c.Close()
			}
			return err
		}) == nil
	})
}

// TestCurlThroughRandomPorts fetches from nginx by 50 random ports of 50 random addresses of each prefix.
func TestCurlThroughRandomPorts(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.RequireProgram(t, "nginx", "curl")
	w := newWorld(t)
	w.startNginx()
	w.run(prefixes + `
[[route]]
name = "v4"
prefix = ["198.18.0.0/20"]
upstream = ["10.2.0.2:8080"]
proxy_protocol = "v2"
[[route]]
name = "v6"
prefix = ["2001:db8::/48"]
upstream = ["[fd00:2::2]:8080"]
proxy_protocol = "v2"
`)
	clients := map[string]string{"ipv4": "10.1.0.2", "ipv6": "fd00:1::2"}
	for _, f := range families {
		args := []string{"--silent", "--show-error", "--fail", "--globoff", "--no-keepalive", "--noproxy", "*"}
		var want strings.Builder
		for range 50 {
			to := f.destination(w.rng)
			args = append(args, "http://"+to.String()+"/")
			fmt.Fprintln(&want, to.Addr(), to.Port(), clients[f.name])
		}
		out, errs, status := runShort(t, w.Client.Command("curl", args...))
		if status != 0 || out != want.String() {
			t.Errorf("%s: curl ended with %d, printed\n%s%s\nwant\n%s", f.name, status, out, errs, want.String())
		}
	}
}
