package rule_test

import (
	"testing"

	"anyport/conf/rule/ruletest"
)

// TestPrecedence has a case for every sentence of the precedence, over both families. The linear match that other
// tests rely on is held against the same cases.
func TestPrecedence(t *testing.T) {
	for _, test := range []struct {
		name    string
		set     string
		queries []query
	}{
		{
			"longest destination prefix comes before narrowest range", `
				serve 198.18.0.0/20
				serve 2001:db8::/48
				narrow tcp prefix=198.18.0.0/20,2001:db8::/48 ports=22 from=192.0.2.0/24,2001:db8:99::/64
				long prefix=198.18.1.0/24,2001:db8:0:1::/64`,
			[]query{
				"198.18.1.7:22/tcp = long", "198.18.2.7:22/tcp = narrow",
				"[2001:db8:0:1::7]:22/tcp = long", "[2001:db8:0:2::7]:22/tcp = narrow",
			},
		}, {
			"narrowest range comes before specific protocol", `
				serve 198.18.0.0/20
				serve 2001:db8::/48
				wide tcp ports=1-1000 from=192.0.2.99/32,2001:db8:99::99/128
				narrow ports=22-23`,
			[]query{
				"198.18.0.1:22/tcp = narrow", "198.18.0.1:23/udp = narrow", "198.18.0.1:24/tcp = wide",
				"198.18.0.1:24/udp = (sealed)",
				"[2001:db8::1]:22/tcp = narrow", "[2001:db8::1]:24/tcp = wide",
			},
		}, {
			"specific protocol comes before longest source prefix", `
				serve 198.18.0.0/20
				serve 2001:db8::/48
				both ports=53 from=192.0.2.99/32,2001:db8:99::99/128
				dns udp ports=53`,
			[]query{
				"198.18.0.1:53/udp = dns", "198.18.0.1:53/tcp = both",
				"[2001:db8::1]:53/udp = dns", "[2001:db8::1]:53/tcp = both",
			},
		}, {
			"longest source prefix comes last", `
				serve 198.18.0.0/20
				serve 2001:db8::/48
				any ports=80
				office ports=80 from=192.0.2.0/24,2001:db8:99::/64
				desk ports=80 from=192.0.2.99/32,2001:db8:99::99/128`,
			[]query{
				"198.18.0.1:80/tcp = desk", "198.18.0.1:80/tcp from 192.0.2.1 = office",
				"198.18.0.1:80/tcp from 192.0.3.1 = any",
				"[2001:db8::1]:80/udp = desk", "[2001:db8::1]:80/udp from 2001:db8:99::1 = office",
				"[2001:db8::1]:80/udp from :: = any",
			},
		}, {
			"a better group's shorter source beats a worse group's longer one", `
				serve 198.18.0.0/20
				serve 2001:db8::/48
				narrow ports=80 from=192.0.0.0/8,2001::/16
				wide ports=80-81 from=192.0.2.99/32,2001:db8:99::99/128`,
			[]query{
				"198.18.0.1:80/tcp = narrow", "198.18.0.1:81/tcp = wide",
				"[2001:db8::1]:80/tcp = narrow", "[2001:db8::1]:81/tcp = wide",
			},
		}, {
			"a source that no rule admits falls to the next best rule, and with none is refused", `
				serve 198.18.0.0/20
				serve 2001:db8::/48
				best prefix=198.18.1.0/24,2001:db8:0:1::/64 ports=22 from=10.0.0.0/8,fd00::/8
				next prefix=198.18.1.0/24,2001:db8:0:1::/64 ports=22-23 from=10.0.0.0/7,fc00::/7
				last ports=22 from=192.0.2.0/24,2001:db8:99::/64`,
			[]query{
				"198.18.1.1:22/tcp from 10.1.1.1 = best", "198.18.1.1:22/tcp from 11.1.1.1 = next",
				"198.18.1.1:22/tcp = last", "198.18.1.1:22/tcp from 8.8.8.8 = (sealed)",
				"[2001:db8:0:1::1]:22/tcp from fd00::1 = best", "[2001:db8:0:1::1]:22/tcp from fc00::1 = next",
				"[2001:db8:0:1::1]:22/tcp = last", "[2001:db8:0:1::1]:22/tcp from 2600:: = (sealed)",
			},
		}, {
			"or is passed, where the prefix is open", `
				serve 198.18.0.0/20 open
				serve 2001:db8::/48 open
				office ports=22 from=10.0.0.0/8,fd00::/8`,
			[]query{
				"198.18.0.1:22/tcp from 10.0.0.1 = office", "198.18.0.1:22/tcp = (open)", "198.18.0.1:23/udp = (open)",
				"[2001:db8::1]:22/tcp from fd00::1 = office", "[2001:db8::1]:22/tcp = (open)",
			},
		}, {
			"a more specific prefix inherits its ancestors' rules for ports and sources that it does not cover", `
				serve 198.18.0.0/20
				serve 2001:db8::/48
				web prefix=198.18.0.0/20,2001:db8::/48 ports=80,443
				mail prefix=198.18.1.0/24,2001:db8:0:1::/64 ports=25
				admin prefix=198.18.1.128/25,2001:db8:0:1:8000::/65 ports=80 from=10.0.0.0/8,fd00::/8`,
			[]query{
				"198.18.1.129:80/tcp from 10.0.0.1 = admin", "198.18.1.129:80/tcp = web", "198.18.1.129:443/tcp = web",
				"198.18.1.129:25/tcp = mail", "198.18.1.129:26/tcp = (sealed)", "198.18.1.1:80/tcp from 10.0.0.1 = web",
				"[2001:db8:0:1:8000::1]:80/tcp from fd00::1 = admin", "[2001:db8:0:1:8000::1]:80/tcp = web",
				"[2001:db8:0:1:8000::1]:25/tcp = mail", "[2001:db8:0:1::1]:80/tcp from fd00::1 = web",
			},
		}, {
			"the width is that of the single range, after exclusions have split it", `
				serve 198.18.0.0/20
				serve 2001:db8::/48
				split ports=1-24,26-65535
				middle ports=20-60`,
			[]query{
				"198.18.0.1:24/tcp = split", "198.18.0.1:25/tcp = middle", "198.18.0.1:26/tcp = middle",
				"198.18.0.1:61/tcp = split",
				"[2001:db8::1]:24/udp = split", "[2001:db8::1]:25/udp = middle", "[2001:db8::1]:26/udp = middle",
			},
		}, {
			"ranges that touch stay two", `
				serve 198.18.0.0/20
				serve 2001:db8::/48
				two ports=1-10,11-20
				one ports=5-16`,
			[]query{
				"198.18.0.1:5/tcp = two", "198.18.0.1:16/tcp = two", "198.18.0.1:21/tcp = (sealed)",
				"[2001:db8::1]:16/udp = two",
			},
		}, {
			"port 0 is refused, also where the prefix is open", `
				serve 198.18.0.0/20
				serve 198.18.1.0/24 open
				serve 2001:db8::/48 open
				all prefix=198.18.0.0/20`,
			[]query{
				"198.18.0.1:0/tcp = (sealed)", "198.18.1.1:0/udp = (sealed)", "[2001:db8::1]:0/udp = (sealed)",
				"198.18.0.1:1/tcp = all", "198.18.0.1:65535/udp = all", "[2001:db8::1]:1/udp = (open)",
			},
		}, {
			"a rule without prefix ranks below every rule with one, whatever else they say", `
				serve 198.18.0.0/20
				serve 0.0.0.0/0
				serve 2001:db8::/48
				none tcp ports=22 from=192.0.2.99/32,2001:db8:99::99/128
				zero prefix=0.0.0.0/0
				six prefix=2001:db8::/48`,
			[]query{"198.18.0.1:22/tcp = zero", "1.1.1.1:22/tcp = zero", "[2001:db8::1]:22/tcp = six"},
		}, {
			"a rule without prefix matches every served prefix and nothing else", `
				serve 198.18.0.0/20
				serve 203.0.113.0/24 open
				serve 2001:db8::/48
				all`,
			[]query{
				"198.18.15.255:1/tcp = all", "203.0.113.1:65535/udp = all", "[2001:db8::1]:1/udp = all",
				"198.18.16.0:1/tcp = (outside)", "198.17.255.255:0/tcp = (outside)", "[2001:db8:1::]:1/tcp = (outside)",
			},
		}, {
			"sealed or open is the default of the longest served prefix, never a rule", `
				serve 198.18.0.0/16
				serve 198.18.0.0/20 open
				serve 198.18.1.0/24
				serve 2001:db8::/48
				serve 2001:db8:0:1::/64 open
				web prefix=198.18.0.0/16,2001:db8::/48 ports=80
				deep prefix=198.18.0.128/25,198.18.1.128/25 ports=90`,
			[]query{
				"198.18.255.1:80/tcp = web", "198.18.0.1:80/tcp = web", "198.18.1.1:80/tcp = web",
				"198.18.255.1:81/tcp = (sealed)", "198.18.0.1:81/tcp = (open)", "198.18.1.1:81/tcp = (sealed)",
				"198.18.0.129:81/tcp = (open)", "198.18.1.129:81/tcp = (sealed)", "198.18.1.129:90/tcp = deep",
				"[2001:db8:0:1::1]:80/tcp = web", "[2001:db8:0:1::1]:81/tcp = (open)", "[2001:db8::1]:81/tcp = (sealed)",
			},
		}, {
			"refuse and pass win and lose like any rule", `
				serve 198.18.0.0/20 open
				serve 2001:db8::/48
				no-smtp ports=25 do=refuse
				host prefix=198.18.1.0/24,2001:db8:0:1::/64 ports=20-30 do=pass
				proxy`,
			[]query{
				"198.18.0.1:25/tcp = no-smtp", "198.18.1.1:25/tcp = host", "198.18.1.1:31/tcp = proxy",
				"[2001:db8::1]:25/udp = no-smtp", "[2001:db8:0:1::1]:25/udp = host",
			},
		}, {
			"of a rule's own prefixes and sources the longest that match count", `
				serve 198.18.0.0/20
				serve 2001:db8::/48
				nested prefix=198.18.0.0/20,198.18.1.128/25,2001:db8::/48,2001:db8:0:1:8000::/65
				middle prefix=198.18.1.0/24,2001:db8:0:1::/64
				sources ports=7 from=10.0.0.0/8,10.1.1.0/24,fd00::/8,fd01:1::/32
				between ports=7 from=10.1.0.0/16,fd01::/16`,
			[]query{
				"198.18.1.1:1/tcp = middle", "198.18.1.129:1/tcp = nested", "198.18.2.1:1/tcp = nested",
				"[2001:db8:0:1::1]:1/tcp = middle", "[2001:db8:0:1:8000::1]:1/tcp = nested",
			},
		}, {
			"sources nest within a group", `
				serve 198.18.0.0/20
				serve 2001:db8::/48
				sources ports=7 from=10.0.0.0/8,10.1.1.0/24,fd00::/8,fd01:1::/32
				between ports=7 from=10.1.0.0/16,fd01::/16`,
			[]query{
				"198.18.0.1:7/tcp from 10.0.0.1 = sources", "198.18.0.1:7/tcp from 10.1.0.1 = between",
				"198.18.0.1:7/tcp from 10.1.1.1 = sources",
				"198.18.0.1:7/tcp = (sealed)", "[2001:db8::1]:7/tcp from fd01:1::1 = sources",
				"[2001:db8::1]:7/tcp from fd01:2::1 = between",
			},
		}, {
			"a from of one family admits nobody of the other", `
				serve 198.18.0.0/20
				serve 2001:db8::/48
				four ports=22 from=0.0.0.0/0
				six ports=22 from=::/0`,
			[]query{"198.18.0.1:22/tcp = four", "[2001:db8::1]:22/tcp = six"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := mustCompile(t, test.set)
			for _, q := range test.queries {
				if got, want := q.ask(t, table); got != want {
					t.Errorf("%s: got %s", q, got)
				}
				p, src, dst, want := q.parse(t)
				naive := ruletest.Naive(table.Set(), p, src, dst)
				if got := table.Set().RuleName(naive.Rule); got != want {
					t.Errorf("%s: the linear match says %s", q, got)
				}
			}
		})
	}
}
