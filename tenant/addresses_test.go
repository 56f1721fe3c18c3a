package tenant

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
)

func TestMayRegisterFrom(t *testing.T) {
	for _, tc := range []struct {
		rule            string
		allowed, denied []string
		addr            string // empty: not known
		want            bool
	}{
		{rule: "without lists everybody may", addr: "203.0.113.9", want: true},
		{rule: "also who is not known", want: true},
		{rule: "in an allowed block", allowed: []string{"198.51.100.0/24"}, addr: "198.51.100.7", want: true},
		{rule: "at its edge", allowed: []string{"198.51.100.0/24"}, addr: "198.51.100.255", want: true},
		{rule: "next to it", allowed: []string{"198.51.100.0/24"}, addr: "198.51.101.0"},
		{rule: "one address", allowed: []string{"198.51.100.7"}, addr: "198.51.100.7", want: true},
		{rule: "and no other", allowed: []string{"198.51.100.7"}, addr: "198.51.100.8"},
		{rule: "IPv6", allowed: []string{"2001:db8:1::/48"}, addr: "2001:db8:1:ffff::1", want: true},
		{rule: "and not", allowed: []string{"2001:db8:1::/48"}, addr: "2001:db8:2::1"},
		{rule: "IPv4 in IPv6 is IPv4", allowed: []string{"198.51.100.0/24"}, addr: "::ffff:198.51.100.7", want: true},
		{rule: "IPv6 is not IPv4", allowed: []string{"0.0.0.0/0"}, addr: "2001:db8::1"},
		{rule: "denied", denied: []string{"198.51.100.0/24"}, addr: "198.51.100.7"},
		{rule: "not denied", denied: []string{"198.51.100.0/24"}, addr: "203.0.113.9", want: true},
		{rule: "denied in another spelling", denied: []string{"198.51.100.0/24"}, addr: "::ffff:198.51.100.7"},
		{rule: "denied wins", allowed: []string{"198.51.100.0/24"}, denied: []string{"198.51.100.7"}, addr: "198.51.100.7"},
		{rule: "also over the same", allowed: []string{"198.51.100.7"}, denied: []string{"198.51.100.0/24"}, addr: "198.51.100.7"},
		{rule: "who is not known is not in a list", allowed: []string{"0.0.0.0/0", "::/0"}},
		{rule: "and could be in another", denied: []string{"198.51.100.7"}},
		{rule: "what cannot be read allows nobody", allowed: []string{"everybody"}, addr: "198.51.100.7"},
		{rule: "and denies everybody", denied: []string{"nobody"}, addr: "198.51.100.7"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			record := store.Tenant{ID: "t", Issuer: "https://login.example.com", Settings: store.TenantSettings{
				DynamicClientRegistrationAllowedAddresses: tc.allowed, DynamicClientRegistrationDeniedAddresses: tc.denied,
			}}
			var addr netip.Addr
			if tc.addr != "" {
				addr = netip.MustParseAddr(tc.addr)
			}
			if got := newTenant(record, nil, &Config{}).MayRegisterFrom(addr); got != tc.want {
				t.Errorf("%s: %v, allowed %v, denied %v", tc.addr, got, tc.allowed, tc.denied)
			}
		})
	}
}

func TestAddressListsHaveABound(t *testing.T) {
	if err := checkAddresses(make([]string, maxAddresses+1)); err == nil {
		t.Error("a list without bound is accepted")
	}
}

// FuzzAddressList proves that what is accepted means the same after it was written
// and read, and that an error comes with nothing.
func FuzzAddressList(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "::/0", "::1", "fe80::1%eth0", "10.0.0.1/8", "::ffff:1.2.3.4/96", "1.2.3.4/33", "", "010.0.0.1", "1.2.3.4/08"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePrefix(s)
		if err != nil {
			if p != (netip.Prefix{}) || strings.Contains(err.Error(), "%!") {
				t.Errorf("%q: %v with %v", s, err, p)
			}
			return
		}
		if again, err := parsePrefix(p.String()); err != nil || again != p || !p.IsValid() || p != p.Masked() {
			t.Errorf("%q is %v, read again %v, %v", s, p, again, err)
		}
	})
}
