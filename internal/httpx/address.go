package httpx

import (
	"net/netip"
	"slices"
)

// specialIPv4 are the blocks of the IANA special-purpose registry (RFC 6890) and
// multicast: none of them is a server on the internet.
var specialIPv4 = prefixes(
	"0.0.0.0/8",          // this network
	"10.0.0.0/8",         // private
	"100.64.0.0/10",      // shared, behind a carrier's NAT
	"127.0.0.0/8",        // loopback
	"169.254.0.0/16",     // link-local, with the metadata services of clouds
	"172.16.0.0/12",      // private
	"192.0.0.0/24",       // protocol assignments
	"192.0.2.0/24",       // documentation
	"192.88.99.0/24",     // 6to4 relays
	"192.168.0.0/16",     // private
	"198.18.0.0/15",      // benchmarks
	"198.51.100.0/24",    // documentation
	"203.0.113.0/24",     // documentation
	"224.0.0.0/4",        // multicast
	"240.0.0.0/4",        // reserved
	"255.255.255.255/32", // broadcast
)

// globalIPv6 is all that is assigned as global unicast. Outside of it are the
// unspecified and loopback addresses, IPv4-mapped and IPv4-compatible ones, NAT64,
// unique local, link-local, site-local and multicast.
var globalIPv6 = netip.MustParsePrefix("2000::/3")

// specialIPv6 are the special blocks within globalIPv6. Two of them carry an IPv4
// address that may be a private one.
var specialIPv6 = prefixes(
	"2001::/23",     // protocol assignments, Teredo among them
	"2001:db8::/32", // documentation
	"2002::/16",     // 6to4
	"3fff::/20",     // documentation
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// isPublic reports whether addr is that of a host on the internet. What is not
// known to be public is not.
func isPublic(addr netip.Addr) bool {
	if !addr.IsValid() || addr.Zone() != "" {
		return false
	}
	within := func(p netip.Prefix) bool { return p.Contains(addr) }
	if addr.Is4() {
		return !slices.ContainsFunc(specialIPv4, within)
	}
	return globalIPv6.Contains(addr) && !slices.ContainsFunc(specialIPv6, within)
}
