package dcr

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"net/url"
	"slices"
	"strings"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file lets a public application that registers again get the client that it has.

// generations is how many clients one application may have at a time: the second one is
// for when the first is provisional and about to go.
const generations = 2

// reusable reports whether the application in m may be given a client that exists: one
// without a secret, which anybody may know, and without a registration access token,
// with which the second one to register could change what the first one is. Consent
// that is remembered would be that of every program on the user's machine, so one that
// lives there has to be strict: it is asked about each time (RFC 8252 §8.6).
func (r *Registrar) reusable(t *tenant.Tenant, m *metadata, access *InitialAccessToken) bool {
	if !r.cfg.ReusePublicClients || !m.public() || access != nil || r.configurationURL(t) != "" {
		return false
	}
	return m.client.Strict() || !slices.ContainsFunc(m.client.RedirectURIs, func(uri string) bool {
		kind, err := oauth.ClassifyRedirectURI(uri)
		return err != nil || kind != oauth.RedirectWeb
	})
}

// reuse looks for the client of an application that registered before. It returns nil
// if there is none, and has then given m the identifier by which it will be found, or
// none if it is taken.
func (r *Registrar) reuse(ctx context.Context, m *metadata) (*store.Client, error) {
	c := &m.client
	identity := identityOf(c, &m.extra)
	for generation := range generations {
		id := r.derivedID(c, identity, generation)
		// Not through the cache: one that was deleted must not be given out.
		record, err := r.uncached.Client(ctx, c.TenantID, id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			// What had this identifier before leaves nothing to the next one.
			if err := r.revokeAll(ctx, c.TenantID, id); err != nil {
				return nil, err
			}
			c.ID = id
			return nil, nil
		case err != nil:
			return nil, err
		}
		extra := record.Extra()
		// An administrator may have changed it: then it is not what was asked for.
		if !record.Dynamic || record.Registration != nil || !slices.Equal(identityOf(&record, &extra), identity) {
			continue
		}
		// Whoever registers is sure of the time in which a user can sign in.
		if lifetime := r.lifecycle.Provisional; record.ConfirmedAt.IsZero() && lifetime > 0 && r.now().Sub(record.CreatedAt) > lifetime/2 {
			continue
		}
		return &record, nil
	}
	return nil, nil
}

// reused answers a registration with a client that exists.
func (r *Registrar) reused(ctx context.Context, by requester, m *metadata, scope string) *clientInformation {
	r.cfg.Logger.InfoContext(ctx, "client registered again", "tenant", m.client.TenantID, "client_id", m.client.ID)
	event := m.accepted(audit.ClientRegistration)
	event.Outcome = audit.Reused
	r.emit(ctx, by, event)
	info := newClientInformation(&m.client, "", scope)
	info.ClientIDIssuedAt = 0
	return &info
}

// identityOf returns what makes two registrations that of one application: everything
// that it says of itself, without regard to the order of lists, and without the ports of
// loopback redirect URIs, which do not count either when they are compared (RFC 8252
// §7.3) and are new with every start of many applications.
func identityOf(c *store.Client, extra *store.ClientMetadata) []byte {
	sorted := func(list []string) []string {
		list = slices.Clone(list)
		slices.Sort(list)
		return slices.Compact(list)
	}
	redirects := slices.Clone(c.RedirectURIs)
	for i, uri := range redirects {
		redirects[i] = withoutLoopbackPort(uri)
	}
	type identity struct {
		Mode, Name, Method, Type, Scope string
		Redirects, Grants, Responses    []string
		Extra                           store.ClientMetadata
	}
	mode := store.ModeStrict
	if !c.Strict() {
		mode = store.ModePermissive
	}
	out, err := json.Marshal(identity{
		mode, c.Name, c.TokenEndpointAuthMethod, c.ApplicationType, strings.Join(sorted(strings.Fields(c.Scope)), " "),
		sorted(redirects), sorted(c.AllowedGrantTypes()), sorted(c.AllowedResponseTypes()), *extra,
	})
	if err != nil {
		return nil // keys that are no JSON, which nothing stores
	}
	return out
}

func withoutLoopbackPort(uri string) string {
	if kind, err := oauth.ClassifyRedirectURI(uri); err != nil || kind != oauth.RedirectLoopback {
		return uri
	}
	u, err := url.Parse(uri)
	if err != nil {
		return uri
	}
	return strings.Replace(uri, u.Host, strings.TrimSuffix(u.Host, ":"+u.Port()), 1)
}

// derivedID returns the identifier of a client with an identity. It is keyed: nobody
// else can tell which identifier an application would get here.
func (r *Registrar) derivedID(c *store.Client, identity []byte, generation int) string {
	sealed := r.identifiers.SealDeterministic(identity, string(rune('0'+generation))+"/"+c.TenantID)
	// It begins with a keyed hash of what is sealed.
	n, digit, base := new(big.Int).SetBytes(sealed[:24]), new(big.Int), big.NewInt(int64(len(alphabet)))
	id := make([]byte, idLength)
	for i := range id {
		n.DivMod(n, base, digit)
		id[i] = alphabet[digit.Int64()]
	}
	if c.Strict() {
		return strictPrefix + string(id)
	}
	return string(id)
}
