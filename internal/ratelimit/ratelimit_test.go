package ratelimit

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

func from(addr string) Key {
	return Key{Tenant: "a", Network: Network(netip.MustParseAddr(addr))}
}

func TestNetwork(t *testing.T) {
	for addr, want := range map[string]string{
		"198.51.100.7": "198.51.100.7/32", "2001:db8:0:1::1": "2001:db8:0:1::/64", "::1": "::1/128", "127.0.0.1": "127.0.0.1/32",
	} {
		if got := Network(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s is of %s, want %s", addr, got, want)
		}
	}
	if Network(netip.Addr{}).IsValid() {
		t.Error("what is not known is of a network")
	}
}

func TestLocal(t *testing.T) {
	now := start
	l := NewLocal(Rate{PerSecond: 0.5, Burst: 2})
	admit := func(k Key, want time.Duration) {
		t.Helper()
		if wait := l.Admit(k, now); wait != want {
			t.Errorf("%v: wait %v, want %v", k, wait, want)
		}
	}
	for range 2 {
		admit(from("198.51.100.7"), 0)
	}
	for range 3 { // refused attempts do not add up
		admit(from("198.51.100.7"), 2*time.Second)
	}
	admit(from("198.51.100.8"), 0) // the next address is somebody else
	admit(Key{Tenant: "b", Network: from("198.51.100.7").Network}, 0)
	admit(Key{Tenant: "a", Network: from("198.51.100.7").Network, Host: "app.example.com"}, 0)

	admit(from("2001:db8:0:1::1"), 0)
	admit(from("2001:db8:0:1:ffff::2"), 0)
	admit(from("2001:db8:0:1:abcd::3"), 2*time.Second) // one subscriber has the /64
	admit(from("2001:db8:0:2::1"), 0)

	now = now.Add(time.Second)
	admit(from("198.51.100.7"), time.Second)
	now = now.Add(time.Second)
	admit(from("198.51.100.7"), 0)
	admit(from("198.51.100.7"), 2*time.Second)
}

func TestLocalForgetsInTheSourcesFavour(t *testing.T) {
	l := NewLocal(Rate{PerSecond: 1, Burst: 1})
	busy := from("198.51.100.7")
	if l.Admit(busy, start) > 0 || l.Admit(busy, start) == 0 {
		t.Fatal("the burst is not one")
	}
	for i := range 5 * maxKeys {
		k := Key{Tenant: "a", Network: Network(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))}
		if wait := l.Admit(k, start); wait > 0 {
			t.Fatalf("newcomer %v has to wait", k)
		}
		if i%1000 == 0 && l.Admit(busy, start) == 0 {
			t.Fatalf("a network in use was forgotten after %d others", i)
		}
		if n := len(l.buckets.young) + len(l.buckets.old); n > 2*maxKeys {
			t.Fatalf("%d buckets", n)
		}
	}
}

// A host is as long as a stranger likes.
func TestAKeyKeepsNothingOfARequest(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	if k := (Key{Tenant: "a", Host: long}).own(); k == (Key{Tenant: "a", Host: long + "y"}).own() || k.tenant != "a" {
		t.Errorf("%+v", k)
	}
}

func TestRateValid(t *testing.T) {
	zero := 0.0
	for _, r := range []Rate{{}, {PerSecond: 1}, {Burst: 1}, {PerSecond: -1, Burst: 1}, {PerSecond: 1, Burst: -1}, {PerSecond: zero / zero, Burst: 1}, {PerSecond: 1 / zero, Burst: 1}} {
		if r.Valid() {
			t.Errorf("%+v is valid", r)
		}
	}
	if !(Rate{PerSecond: 0.001, Burst: 1}).Valid() {
		t.Error("a rate is not valid")
	}
}

// Both limiters tell a source what it has.
func TestAsk(t *testing.T) {
	r := Rate{PerSecond: 2, Burst: 4}
	_, all := nodes(1, r)
	local := NewLocal(r)
	for name, ask := range map[string]func(now time.Time) Budget{
		"local": func(now time.Time) Budget { return local.Ask(from("198.51.100.7"), now) },
		"shared": func(now time.Time) Budget {
			b, err := all[0].Ask(t.Context(), from("198.51.100.7"), now)
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
	} {
		for i := range 4 {
			want := Budget{Remaining: 3 - i, Full: start.Add(time.Duration(i+1) * 500 * time.Millisecond)}
			if got := ask(start); got != want {
				t.Errorf("%s, request %d: %+v, want %+v", name, i, got, want)
			}
		}
		got := ask(start)
		if got.Wait <= 0 || got.Wait > time.Second || got.Remaining != 0 || !got.Full.Equal(start.Add(2*time.Second)) {
			t.Errorf("%s, beyond: %+v", name, got)
		}
		later := start.Add(time.Hour)
		if got, want := ask(later), (Budget{Remaining: 3, Full: later.Add(500 * time.Millisecond)}); got != want {
			t.Errorf("%s, an hour later: %+v, want %+v", name, got, want)
		}
	}
}

func TestAskForAnyRate(t *testing.T) {
	for _, r := range []Rate{{PerSecond: 1e12, Burst: 1}, {PerSecond: 1e12, Burst: 1 << 40}, {PerSecond: 1e-9, Burst: 1}} {
		_, all := nodes(1, r)
		for _, b := range []Budget{NewLocal(r).Ask(from("198.51.100.7"), start), func() Budget { b, _ := all[0].Ask(t.Context(), from("198.51.100.7"), start); return b }()} {
			if b.Wait != 0 || b.Remaining < 0 || b.Remaining > r.Burst {
				t.Errorf("%+v: %+v", r, b)
			}
		}
	}
}
