package dcr

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/internal/ratelimit"
	"github.com/opkit/opkit/store"
)

// maxDocumentURL bounds an identifier that is a URL: it is in every token and every
// record of the client.
const maxDocumentURL = 512

// unusable returns the error for a document, or its URL, that makes no client. What
// it says is for the developer of the application; cause is for the log.
func unusable(cause error, text string) error {
	return oauth.WithCause(errors.Join(store.ErrNotFound, cause), oauth.CodeInvalidClient, text)
}

// checkDocumentURL applies §3. A URL that has another spelling with the same meaning
// is refused: two identifiers would be one application, and the one that the user
// reads not the one that is fetched.
func checkDocumentURL(id string) error {
	text := ""
	u, err := url.Parse(id)
	switch {
	case len(id) > maxDocumentURL:
		text = "is longer than 512 bytes"
	case err != nil:
		text = "is not a valid URI"
	case !oauth.NamesDocument(id):
		text = "does not begin with https://, in small letters"
	case strings.Contains(id, "#"):
		text = "has a fragment"
	case u.Path == "" || u.Path == "/":
		text = "has no path"
	case u.Host != strings.ToLower(u.Host):
		text = "has capital letters in its host"
	case u.Port() == "443":
		text = "names the port that https has anyway"
	default:
		if err := oauth.CheckURI(id, https...); err != nil {
			text = err.Error()
		}
	}
	if text == "" {
		return nil
	}
	return unusable(err, "the application's client_id is a URL and cannot be used: it "+text)
}

// parseDocument returns the client that the document at id describes. An error that
// is not internal says what is wrong with it.
func (r *Registrar) parseDocument(ctx context.Context, key documentKey, body []byte) (*store.Client, error) {
	m := &metadata{
		// Strict in every tenant: a mode that follows the settings could not be fixed
		// where there is no record.
		client:   store.Client{TenantID: key.tenant, Dynamic: true, SecurityMode: store.ModeStrict},
		document: &documentMembers{},
	}
	err := r.readDocument(ctx, key, body, m)
	r.emitDocument(ctx, key, m, err)
	if err != nil {
		return nil, err
	}
	if m.rare {
		m.client.Metadata = &m.extra
	}
	m.client.Revision = r.revisionOf(&m.client)
	return &m.client, nil
}

// readDocument reads a document into m.
func (r *Registrar) readDocument(ctx context.Context, key documentKey, body []byte, m *metadata) error {
	t, err := r.cfg.Tenants.Tenant(ctx, key.tenant)
	if err != nil {
		return err
	}
	// §4.3: a software statement counts as in a registration.
	if err := r.read(ctx, t, body, m); err != nil {
		return err
	}
	// §4: simple string comparison.
	if m.document.clientID != key.url {
		return invalid("client_id", "client_id must be there, and be the URL of the document character by character")
	}
	m.client.ID = key.url
	if err := m.adaptDocument(); err != nil {
		return err
	}
	if err := r.judge(ctx, t, m, Publishing); err != nil {
		return err
	}
	if !r.cfg.Documents.InsecureForeignRedirects {
		if err := m.checkOrigins(); err != nil {
			return err
		}
	}
	return r.checkSectorDocument(ctx, m)
}

// adaptDocument makes a registration of what was written for every server there is.
func (m *metadata) adaptDocument() error {
	c := &m.client
	switch c.TokenEndpointAuthMethod {
	case "":
		// The default of a registration is a secret, which there cannot be.
		c.TokenEndpointAuthMethod = clientauth.MethodNone
	case clientauth.MethodNone, clientauth.MethodPrivateKeyJWT:
	default:
		return invalid("token_endpoint_auth_method", "token_endpoint_auth_method: %s is not one of %s, %s",
			quote(c.TokenEndpointAuthMethod), clientauth.MethodNone, clientauth.MethodPrivateKeyJWT)
	}
	if len(c.RedirectURIs) == 0 {
		return invalid("redirect_uris", "redirect_uris is required: an array of the URIs to which users may return")
	}
	// RFC 7591 §3.2.1: what is not served here is left out.
	if len(c.GrantTypes) > 0 {
		c.GrantTypes = slices.DeleteFunc(c.GrantTypes, func(g string) bool { return !slices.Contains(strictGrantTypes, g) })
		if !slices.Contains(c.GrantTypes, grantCode) {
			return invalid("grant_types", "grant_types must have authorization_code")
		}
	}
	if len(c.ResponseTypes) > 0 {
		c.ResponseTypes = slices.DeleteFunc(c.ResponseTypes, func(s string) bool { return s != "code" })
		if len(c.ResponseTypes) == 0 {
			return invalid("response_types", "response_types must have code")
		}
	}
	return nil
}

// checkOrigins makes sure that the places at which users arrive are where the
// document is. Those on the user's own machine have no origin that says anything.
func (m *metadata) checkOrigins() error {
	own := origin(m.client.ID)
	for _, list := range []struct {
		member string
		uris   []string
	}{
		{"redirect_uris", m.client.RedirectURIs},
		{"post_logout_redirect_uris", m.extra.PostLogoutRedirectURIs},
	} {
		for _, uri := range list.uris {
			if kind, err := oauth.ClassifyRedirectURI(uri); (err != nil || kind == oauth.RedirectWeb) && origin(uri) != own {
				return invalid(list.member, "%s: %s does not have scheme, host and port of the client_id", list.member, quote(uri))
			}
		}
	}
	if uri := m.extra.SectorIdentifierURI; uri != "" && origin(uri) != own {
		return invalid("sector_identifier_uri", "sector_identifier_uri: %s does not have scheme, host and port of the client_id", quote(uri))
	}
	return nil
}

// hostOfDocument returns the host by which fetches are limited: a name, or an
// address without its port.
func hostOfDocument(id string) string {
	u, err := url.Parse(id)
	if err != nil {
		return ""
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		return ratelimit.Network(addr.Unmap()).String()
	}
	return u.Hostname()
}
