package dcr

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Policy decides what applications may be that nobody set up: those that register
// themselves, change their registration, or publish a client ID metadata document. It
// can only narrow what the usual rules leave.
type Policy struct {
	// Rules hold for third-party applications of every tenant, beside those of the
	// tenant itself ([store.TenantSettings].DynamicClientRegistrationRules).
	Rules store.RegistrationRules

	// Decide is asked last, when nothing else is wrong with an application. After an
	// error the answer is server_error and nothing is registered. Nil: everything passes.
	Decide func(ctx context.Context, c Candidate) (Decision, error)
}

// Candidate is an application about which is to be decided.
type Candidate struct {
	TenantID string
	Occasion Occasion
	Caller   Caller
	// Client is what would be stored, after all rules. It is a copy. ID is empty for
	// what registers.
	Client store.Client
}

// Occasion says why it is to be decided about an application.
type Occasion string

// The occasions.
const (
	Registering Occasion = "registration" // RFC 7591
	Updating    Occasion = "update"       // RFC 7592
	Publishing  Occasion = "document"     // a client ID metadata document was fetched
)

// Caller is who sent a registration. It is zero for documents: the provider fetches
// them, whoever named them.
type Caller struct {
	// Network is one IPv4 address or one IPv6 /64. Not valid: unknown.
	Network netip.Prefix
	// InitialAccessToken is the identifier of the token that permits the registration,
	// zero if there is none.
	InitialAccessToken store.Digest
	// SoftwareIssuer is the trusted issuer of the software statement, empty if there is
	// none.
	SoftwareIssuer string
}

// Decision is what becomes of a candidate. The zero value lets it pass.
type Decision struct {
	// Refuse is why the application is refused, in words for its developer. Empty: it
	// is not. Member is the metadata member that this is about: redirect_uris makes the
	// error code invalid_redirect_uri, everything else invalid_client_metadata.
	Refuse, Member string

	// GrantTypes and Scopes are those that are kept. Nil: all. An application that has
	// no grant type or scope left is refused.
	GrantTypes, Scopes []string
	// Without are members that are left out: client_name, client_uri, logo_uri,
	// policy_uri, tos_uri, contacts.
	Without []string

	// Notes are kept with the client for administrators, beside those that it has
	// (client_metadata in the management API), and are in the audit event.
	Notes map[string]string
	// Reasons go into the audit event.
	Reasons []string
}

// judge validates what an application wants to be, and applies the policies to it. It
// is the one way for all that nobody set up.
func (r *Registrar) judge(ctx context.Context, t *tenant.Tenant, m *metadata, occasion Occasion) error {
	m.stranger = true
	rules := [...]*store.RegistrationRules{&r.cfg.Policy.Rules, t.Settings().DynamicClientRegistrationRules}
	if !m.client.FirstParty {
		for _, rules := range rules {
			m.prepare(rules)
		}
	}
	if err := r.validate(ctx, m); err != nil {
		return err
	}
	if !m.client.FirstParty {
		for _, rules := range rules {
			if err := m.apply(rules); err != nil {
				return err
			}
		}
	}
	if r.cfg.Policy.Decide == nil {
		return nil
	}
	return r.decide(ctx, m, occasion)
}

// decide asks the host.
func (r *Registrar) decide(ctx context.Context, m *metadata, occasion Occasion) error {
	candidate := Candidate{TenantID: m.client.TenantID, Occasion: occasion, Caller: m.caller, Client: m.client}
	if m.rare {
		candidate.Client.Metadata = &m.extra
	}
	candidate.Client = candidate.Client.Clone()
	d, err := r.cfg.Policy.Decide(ctx, candidate)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		// Whatever it is, it is the host's, and not for strangers.
		return fmt.Errorf("dcr: Config.Policy.Decide: %w", errors.New(err.Error()))
	}
	m.decided = d
	if d.Refuse != "" {
		code := oauth.CodeInvalidClientMetadata
		if d.Member == "redirect_uris" {
			code = oauth.CodeInvalidRedirectURI
		}
		return oauth.WithCause(&decidedError{d}, code, oauth.AsError(oauth.Errorf(code, "%s", d.Refuse)).Description)
	}
	if d.GrantTypes != nil {
		if err := m.keepGrantTypes(d.GrantTypes); err != nil {
			return err
		}
	}
	if d.Scopes != nil {
		if err := m.keepScopes(d.Scopes); err != nil {
			return err
		}
	}
	if err := m.leaveOut(d.Without); err != nil {
		return err
	}
	m.note(d.Notes)
	return nil
}

// note adds to what is kept about the client.
func (m *metadata) note(add map[string]string) {
	if len(add) == 0 {
		return
	}
	notes := store.ClientNotes{}
	if m.client.Notes != nil {
		notes = *m.client.Notes
	}
	merged := maps.Clone(add)
	for name, value := range notes.Metadata {
		if _, ok := add[name]; !ok {
			merged[name] = value
		}
	}
	notes.Metadata = merged
	m.client.Notes = &notes
}

// leaveOut removes members that a user would be shown.
func (m *metadata) leaveOut(members []string) error {
	for _, member := range members {
		var target *string
		switch member {
		case "client_name":
			target = &m.client.Name
		case "client_uri":
			target = &m.extra.ClientURI
		case "logo_uri":
			target = &m.extra.LogoURI
		case "policy_uri":
			target = &m.extra.PolicyURI
		case "tos_uri":
			target = &m.extra.TOSURI
		case "contacts":
			if len(m.extra.Contacts) > 0 {
				m.extra.Contacts = nil
				m.narrow("contacts is left out")
			}
			continue
		default:
			return fmt.Errorf("dcr: Config.Policy.Decide: %q cannot be left out", member)
		}
		if *target != "" {
			*target = ""
			m.narrow("%s is left out", member)
		}
	}
	return nil
}

// keepGrantTypes leaves out the grant types that are not allowed, and the response
// types that need them.
func (m *metadata) keepGrantTypes(allowed []string) error {
	c := &m.client
	lacking := func(g string) bool { return !slices.Contains(allowed, g) }
	grants := c.AllowedGrantTypes()
	if !slices.ContainsFunc(grants, lacking) {
		return nil
	}
	kept := slices.DeleteFunc(slices.Clone(grants), lacking)
	if len(kept) == 0 || len(kept) == 1 && kept[0] == grantRefresh {
		return invalid("grant_types", "grant_types has nothing that may be registered here: %s", strings.Join(allowed, ", "))
	}
	var responses []string
	if usesBrowser(c) {
		for _, s := range c.AllowedResponseTypes() {
			rt, err := oauth.ParseResponseType(s)
			if err != nil {
				continue
			}
			if !slices.ContainsFunc(grantsOf(rt), func(g string) bool { return !slices.Contains(kept, g) }) {
				responses = append(responses, s)
			}
		}
		if len(responses) == 0 && (slices.Contains(kept, grantCode) || slices.Contains(kept, grantImplicit)) {
			return invalid("response_types", "response_types has nothing that may be registered here with the grant types %s", strings.Join(kept, ", "))
		}
	}
	for _, g := range grants {
		if lacking(g) {
			m.narrow("grant_types: %s may not be registered here", g)
		}
	}
	c.GrantTypes, c.ResponseTypes = kept, responses
	return nil
}

// keepScopes leaves out the scope values that are not allowed.
func (m *metadata) keepScopes(allowed []string) error {
	if m.client.Scope == "" {
		if len(allowed) == 0 {
			return invalid("scope", "scope has nothing that may be registered here")
		}
		m.client.Scope = strings.Join(allowed, " ")
		return nil
	}
	var kept, gone oauth.Scope
	for _, value := range strings.Fields(m.client.Scope) {
		if slices.Contains(allowed, value) {
			kept = append(kept, value)
		} else {
			gone = append(gone, value)
		}
	}
	if len(kept) == 0 { // which would not be a limit
		return invalid("scope", "scope has nothing that may be registered here")
	}
	if len(gone) > 0 {
		m.narrow("scope: %s may not be registered here", quote(gone.String()))
		m.client.Scope = kept.String()
	}
	return nil
}
