package bench

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"anyport/bench/netlab"
)

// The subjects that others are compared with.
const (
	haproxyName = "HAProxy"
	ioCopyName  = "io.Copy"
	routerName  = "plain router"

	againSuffix  = " again" // of the A/A control
	behindSuffix = " behind TPROXY"
)

var (
	haproxyPrograms = map[string]string{"haproxy": "haproxy", "taskset": "util-linux"}
	nginxPrograms   = map[string]string{"nginx": "nginx-core and libnginx-mod-stream", "taskset": "util-linux"}
	tproxyPrograms  = map[string]string{"iptables-nft": "iptables", "ip6tables-nft": "iptables", "ip": "iproute2"}
)

// tcpSubjects returns the subjects in the order of the tables. Each has the settings that its maintainers would choose
// for speed, two workers, and no access log unless asked for one.
func tcpSubjects(p proxyPrograms) []proxySubject {
	config := func(b *proxyBed) string { return anyportConfigOf(b, "", "protocol = \"tcp\"\n") }
	transparent := maps.Clone(tproxyPrograms)
	maps.Copy(transparent, haproxyPrograms)
	behindTPROXY := anyportSubject(anyportName+behindSuffix, p.anyport, func(b *proxyBed) string {
		return anyportConfigOf(b, fmt.Sprintf("tproxy_port = %d\n", steerPort), "protocol = \"tcp\"\n")
	})
	behindTPROXY.needs, behindTPROXY.prepare, behindTPROXY.canLog = tproxyPrograms, prepareTransparent, false
	haproxy := func(b *proxyBed) []string { return []string{"haproxy", "-db", "-f", b.config()} }
	return []proxySubject{
		anyportSubject(anyportName, p.anyport, config),
		anyportSubject(anyportName+againSuffix, p.anyport, config),
		behindTPROXY,
		{name: haproxyName, needs: haproxyPrograms, prepare: prepareLocal, command: haproxy, canLog: true, logsToStdout: true,
			config: func(b *proxyBed) string { return haproxyConfig(b, plainBinds()) }},
		{name: haproxyName + behindSuffix, needs: transparent, prepare: prepareTransparent, command: haproxy, logsToStdout: true,
			config: func(b *proxyBed) string { return haproxyConfig(b, transparentBinds()) }},
		{name: "nginx", needs: nginxPrograms, prepare: prepareLocal, config: nginxTCPConfig, command: nginxCommand, canLog: true},
		{name: ioCopyName, prepare: prepareLocal,
			command: func(b *proxyBed) []string { return copyProxyCommand(p.self) }},
		{name: routerName, prepare: prepareRouter},
	}
}

// HAProxy's server has no port: it is dialled on the port that the client dialled. 8500 connections and 1000 pipes take the 20,000
// descriptors that a process may have here. "splice-auto" would never splice on a veth. A thread on each CPU makes 1.4
// times as many short connections as two threads on both, and pipes as large as anyport's save half of the CPU time of
// bulk. What was tried and makes no difference, or makes it slower: shards by-thread, tcp-smart-accept and -connect,
// larger buffers, and the experimental edge-triggered polling.
const haproxyText = `global
	nbthread 2
	cpu-map auto:1/1-2 0-1
	maxconn 8500
	maxpipes 1000
	tune.pipesize 1048576
	%s
defaults
	mode tcp
	timeout connect 3s
	timeout client 1h
	timeout server 1h
	option splice-request
	option splice-response
	%s
`

func haproxyConfig(b *proxyBed, binds [2]string) string {
	global, option := "", "no log"
	if b.logs {
		global, option = "log stdout format raw daemon", "log global\n\toption tcplog"
	}
	var text strings.Builder
	fmt.Fprintf(&text, haproxyText, global, option)
	for i, f := range proxyFamilies {
		fmt.Fprintf(&text, "listen %s\n%s\tserver upstream %s\n", f.name, binds[i], bracketed(f.upstream))
	}
	return text.String()
}

// bracketed is an address that no port can be read out of.
func bracketed(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	return "[" + a.String() + "]"
}

// plainBinds are listeners on the dialled addresses.
func plainBinds() (binds [2]string) {
	for i, f := range proxyFamilies {
		for _, port := range tcpPorts {
			binds[i] += fmt.Sprintf("\tbind %s:%d\n", f.dialled, port)
		}
	}
	return binds
}

// transparentBinds are those that the TPROXY rules lead to.
func transparentBinds() [2]string {
	return [2]string{
		fmt.Sprintf("\tbind 0.0.0.0:%d transparent\n", steerPort),
		fmt.Sprintf("\tbind :::%d v6only transparent\n", steerPort),
	}
}

const nginxText = `load_module %[1]s;
daemon off;
user root;
pid %[2]s/pid;
error_log stderr;
worker_processes 2;
worker_cpu_affinity 01 10;
worker_rlimit_nofile 20000;
events {
	worker_connections 19000;
	multi_accept on;
}
stream {
	%[3]s
	proxy_connect_timeout 3s;
	proxy_timeout 1h;
	proxy_half_close on;
	tcp_nodelay on;
%[4]s}
`

func nginxCommand(b *proxyBed) []string {
	return []string{"nginx", "-p", b.dir, "-c", b.config(), "-e", "stderr"}
}

func nginxTCPConfig(b *proxyBed) string {
	var servers strings.Builder
	for _, f := range proxyFamilies {
		for _, port := range tcpPorts {
			fmt.Fprintf(&servers, "\tserver { listen %s reuseport backlog=4096; proxy_pass %s;%s }\n",
				addrPort(f.dialled, port), addrPort(f.upstream, port), nginxBuffer(port))
		}
	}
	return nginxConfig(b, servers.String())
}

// nginxBuffer has nginx, which does not splice, read more at once in bulk: 1.7 times as fast as with its 16 KiB. In the
// other works, that makes no difference, but in memory.
func nginxBuffer(port int) string {
	if port == sinkPort || port == sourcePort {
		return " proxy_buffer_size 256k;"
	}
	return ""
}

func nginxConfig(b *proxyBed, servers string) string {
	log := "access_log off;"
	if b.logs {
		log = `log_format tcp '$remote_addr:$remote_port $server_addr:$server_port $upstream_addr $bytes_received '
		'$bytes_sent $upstream_connect_time $session_time $status';
	access_log ` + b.accessLog() + " tcp buffer=64k flush=1s;"
	}
	return fmt.Sprintf(nginxText, nginxStreamModule(), b.dir, log, servers)
}

// nginxStreamModule returns where the module is: it may have been unpacked beside nginx instead of installed.
func nginxStreamModule() string {
	const module = "lib/nginx/modules/ngx_stream_module.so"
	command, err := netlab.FindProgram("nginx")
	if err == nil {
		beside := filepath.Join(filepath.Dir(filepath.Dir(command[len(command)-1])), module)
		if _, err := os.Stat(beside); err == nil {
			return beside
		}
	}
	return "/usr/" + module
}
