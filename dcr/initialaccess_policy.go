package dcr

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// InitialAccessPolicy is what applications may be that are registered with an
// initial access token. What is empty sets no limit beside the usual ones; nothing
// here loosens those but FirstParty and SecurityMode. An application that manages
// its registration stays bound to it.
type InitialAccessPolicy struct {
	// FirstParty makes them the tenant's own: users are not asked for consent.
	FirstParty bool `json:"first_party,omitempty"`
	// SecurityMode is that of third-party applications: [store.ModeStrict] or
	// [store.ModePermissive]. Empty: the tenant's setting.
	SecurityMode string `json:"third_party_security_mode,omitempty"`
	// RedirectHosts are the hosts that redirect_uris and post_logout_redirect_uris may
	// have, with the port unless it is the scheme's own, compared exactly. A
	// loopback host is named without a port. URIs with a private-use scheme have no
	// host.
	RedirectHosts []string `json:"redirect_hosts,omitempty"`
	// GrantTypes are those that may be registered. An application that names none gets
	// those of its default that are here or, if none is, all that are here.
	GrantTypes []string `json:"grant_types,omitempty"`
	// Scopes are those that may be registered, standard ones included. Others are left
	// out; an application that names none gets all.
	Scopes []string `json:"scopes,omitempty"`
	// NamePrefix is how client_name has to begin.
	NamePrefix string `json:"name_prefix,omitempty"`
}

// invalidAccess says which member of an initial access token breaks which rule, in
// words for whoever makes it.
type invalidAccess struct{ member, rule string }

func (e *invalidAccess) Error() string {
	return "dcr: initial access token: " + e.member + " " + e.rule
}

func (p *InitialAccessPolicy) clone() InitialAccessPolicy {
	c := *p
	c.RedirectHosts, c.GrantTypes, c.Scopes = slices.Clone(p.RedirectHosts), slices.Clone(p.GrantTypes), slices.Clone(p.Scopes)
	return c
}

// validate checks a policy that an administrator wrote.
func (p *InitialAccessPolicy) validate() error {
	switch {
	case p.SecurityMode != "" && p.SecurityMode != store.ModeStrict && p.SecurityMode != store.ModePermissive:
		return &invalidAccess{"third_party_security_mode", fmt.Sprintf("must be %q or %q", store.ModeStrict, store.ModePermissive)}
	case p.SecurityMode != "" && p.FirstParty:
		return &invalidAccess{"third_party_security_mode", "does not belong to first_party"}
	case checkText("name_prefix", p.NamePrefix) != nil:
		return &invalidAccess{"name_prefix", "must be visible text of at most 256 bytes"}
	}
	for _, list := range []struct {
		member string
		values []string
		check  func(string) error
	}{
		{"redirect_hosts", p.RedirectHosts, checkHost},
		{"grant_types", p.GrantTypes, func(s string) error {
			if !slices.Contains(allGrantTypes, s) {
				return fmt.Errorf("must have none but %s", strings.Join(allGrantTypes, ", "))
			}
			return nil
		}},
		{"scopes", p.Scopes, func(s string) error {
			if scope, err := oauth.ParseScope(s); err != nil || len(scope) != 1 {
				return errors.New("must have scope values")
			}
			return nil
		}},
	} {
		if len(list.values) > maxValues {
			return &invalidAccess{list.member, fmt.Sprintf("must have at most %d values", maxValues)}
		}
		for _, value := range list.values {
			if err := list.check(value); err != nil {
				return &invalidAccess{list.member, err.Error()}
			}
		}
	}
	return nil
}

// checkHost accepts what RedirectHost returns, so that an entry that can never match is
// refused.
func checkHost(host string) error {
	if host == "" || oauth.RedirectHost("https://"+host+"/") != host {
		return errors.New("must have hosts in lower case, with a port only if it is not the scheme's own")
	}
	return nil
}

// begin makes m one of the applications that the policy is for.
func (p *InitialAccessPolicy) begin(m *metadata) {
	m.policy = p
	switch {
	case p.FirstParty:
		m.client.FirstParty, m.client.SecurityMode = true, ""
	case p.SecurityMode != "":
		m.client.SecurityMode = p.SecurityMode
	}
}

// prepare narrows what an application left out, before it is validated.
func (p *InitialAccessPolicy) prepare(m *metadata) error {
	if p == nil || len(p.GrantTypes) == 0 {
		return nil
	}
	allows := func(g string) bool { return slices.Contains(p.GrantTypes, g) }
	if len(m.client.GrantTypes) == 0 {
		for _, g := range m.client.AllowedGrantTypes() {
			if allows(g) {
				m.client.GrantTypes = append(m.client.GrantTypes, g)
			}
		}
		if len(m.client.GrantTypes) == 0 {
			m.client.GrantTypes = slices.Clone(p.GrantTypes)
		}
		return nil
	}
	for _, g := range m.client.GrantTypes {
		if !allows(g) {
			return invalid("grant_types", "grant_types: %s is not one of those that the initial access token allows: %s", quote(g), strings.Join(p.GrantTypes, ", "))
		}
	}
	return nil
}

// check applies the policy to a registration that was validated.
func (p *InitialAccessPolicy) check(m *metadata) error {
	if p == nil {
		return nil
	}
	if !strings.HasPrefix(m.client.Name, p.NamePrefix) {
		return invalid("client_name", "client_name must begin with %s, says the initial access token", quote(p.NamePrefix))
	}
	if len(p.RedirectHosts) > 0 {
		for _, list := range []struct {
			member string
			uris   []string
		}{{"redirect_uris", m.client.RedirectURIs}, {"post_logout_redirect_uris", m.extra.PostLogoutRedirectURIs}} {
			for _, uri := range list.uris {
				if !slices.Contains(p.RedirectHosts, oauth.RedirectHost(uri)) {
					return invalid(list.member, "%s: %s is not at one of the hosts that the initial access token allows", list.member, quote(uri))
				}
			}
		}
	}
	if len(p.Scopes) == 0 {
		return nil
	}
	if m.client.Scope == "" {
		m.client.Scope = strings.Join(p.Scopes, " ")
		return nil
	}
	scope := slices.DeleteFunc(oauth.Scope(strings.Fields(m.client.Scope)), func(s string) bool { return !slices.Contains(p.Scopes, s) })
	if len(scope) == 0 { // which would not be a limit
		return invalid("scope", "scope has nothing that the initial access token allows")
	}
	m.client.Scope = scope.String()
	return nil
}
