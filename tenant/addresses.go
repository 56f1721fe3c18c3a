package tenant

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/opkit/opkit/store"
)

// maxAddresses bounds a list of addresses.
const maxAddresses = 500

// registrationAddresses are the settings that say from where applications may
// register, parsed once for each snapshot.
type registrationAddresses struct{ allowed, denied []netip.Prefix }

func newRegistrationAddresses(s *store.TenantSettings) registrationAddresses {
	return registrationAddresses{
		allowed: parsePrefixes(s.DynamicClientRegistrationAllowedAddresses),
		denied:  parsePrefixes(s.DynamicClientRegistrationDeniedAddresses),
	}
}

// parsePrefixes parses what checkAddresses accepted. What cannot be parsed, in a
// record that was written past it, makes a prefix that is not valid: it allows
// nothing and denies everything.
func parsePrefixes(list []string) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(list))
	for i, s := range list {
		prefixes[i], _ = parsePrefix(s)
	}
	return prefixes
}

// MayRegisterFrom reports whether applications may register from addr by the
// tenant's lists: it must not be denied and, if there is a list of allowed
// addresses, be in it. An address that is not known is in no list, so that it may
// not where there is any.
func (t *Tenant) MayRegisterFrom(addr netip.Addr) bool {
	allowed, denied := t.addresses.allowed, t.addresses.denied
	if len(allowed)+len(denied) == 0 {
		return true
	}
	if !addr.IsValid() {
		return false
	}
	addr = addr.Unmap().WithZone("")
	within := func(p netip.Prefix) bool { return p.Contains(addr) }
	if slices.ContainsFunc(denied, func(p netip.Prefix) bool { return !p.IsValid() || within(p) }) {
		return false
	}
	return len(allowed) == 0 || slices.ContainsFunc(allowed, within)
}

// parsePrefix parses an address or a CIDR block.
func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		switch {
		case addr.Zone() != "":
			return netip.Prefix{}, errors.New("has a zone")
		case addr.Is4In6():
			return netip.Prefix{}, fmt.Errorf("is an IPv4 address in IPv6; write %s", addr.Unmap())
		}
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, errors.New("is neither an address nor a block in CIDR notation")
	case p.Addr().Is4In6():
		return netip.Prefix{}, errors.New("is an IPv4 block in IPv6; write it as IPv4")
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("has bits behind its length; write %s", p.Masked())
	}
	return p, nil
}

func checkAddresses(list []string) error {
	if len(list) > maxAddresses {
		return fmt.Errorf("must have at most %d elements", maxAddresses)
	}
	for i, s := range list {
		if _, err := parsePrefix(s); err != nil {
			return fmt.Errorf("must hold addresses and CIDR blocks: element %d %w", i, err)
		}
	}
	return nil
}
