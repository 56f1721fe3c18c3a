package dcr

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"time"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// This file implements OAuth Client ID Metadata Document
// (draft-ietf-oauth-client-id-metadata-document-02): a client whose identifier is a
// URL is what the document there says.

// DocumentPolicy says which client ID metadata documents are accepted where the
// tenant's flag client_id_metadata_document_registration is set. The zero value
// accepts those of every host.
type DocumentPolicy struct {
	// Allow reports whether an application may be served, by the identifier that it
	// has: a URL that is well-formed and at most 512 bytes long. It is asked whenever
	// the application is named, before anything is fetched. Nil: every one may.
	Allow func(ctx context.Context, tenantID, clientID string) bool

	// InsecureForeignRedirects accepts https redirect URIs, and a
	// sector_identifier_uri, that do not have the origin of the document. Whoever can
	// place a file on a host that users trust can then show that host on the consent
	// page and have the answer sent elsewhere.
	InsecureForeignRedirects bool
}

// documentGrace is for how long after its document was last seen an application that
// users have allowed something keeps its tokens while the document's host does not
// answer.
const documentGrace = 24 * time.Hour

// ClientResolver finds the client that a request names, whichever way it became
// known: set up by the tenant, registered, or by the document that its identifier
// leads to. It is what endpoints look clients up with that strangers name; records
// of clients that hold tokens are in the store.
type ClientResolver struct {
	registrar *Registrar
	current   bool
}

// Clients returns the resolver for clients that prove who they are, or present what
// they were given. While the host of its document does not answer, a client that
// users have allowed something is what the document last said, for 24 hours.
func (r *Registrar) Clients() ClientResolver { return ClientResolver{registrar: r} }

// CurrentClients returns the resolver for authorization requests: what a document
// says has to be as fresh as its cache headers demand.
func (r *Registrar) CurrentClients() ClientResolver {
	return ClientResolver{registrar: r, current: true}
}

// Client returns the client. The error is store.ErrNotFound if there is none; if it
// is an *oauth.Error besides, that says in words for the client's developer why the
// document cannot be used. An *oauth.Error alone says to try again later.
//
// The client is shared and must not be modified. Its Version is zero if it has no
// record, which it gets when it is first used.
func (c ClientResolver) Client(ctx context.Context, tenantID, id string) (store.Client, error) {
	if !oauth.NamesDocument(id) {
		return c.registrar.cfg.Stores.Clients.Client(ctx, tenantID, id)
	}
	return c.registrar.documentClient(ctx, tenantID, id, c.current)
}

// documentClient resolves an identifier that is a URL.
func (r *Registrar) documentClient(ctx context.Context, tenantID, id string, current bool) (store.Client, error) {
	urlErr := checkDocumentURL(id)
	if len(id) > maxDocumentURL {
		return store.Client{}, urlErr
	}
	// Not through the cache: that there is no record must not be remembered when there
	// is one, which another node may have written a moment ago.
	record, err := r.uncached.Client(ctx, tenantID, id)
	known := err == nil
	switch {
	case known && record.Document == nil:
		return record, nil // the tenant set it up, and says what it is
	case !known && !errors.Is(err, store.ErrNotFound):
		return store.Client{}, err
	case urlErr != nil:
		return store.Client{}, urlErr
	}
	t, err := r.cfg.Tenants.Tenant(ctx, tenantID)
	if err != nil {
		return store.Client{}, err
	}
	if !t.Settings().Flags.ClientIDMetadataDocumentRegistration {
		return store.Client{}, unusable(nil, "the application's client_id is a URL, and client ID metadata documents are not enabled here; the application has to register")
	}
	if allow := r.cfg.Documents.Allow; allow != nil && !allow(ctx, tenantID, id) {
		return store.Client{}, unusable(nil, "the application's client_id is a URL that is not accepted here")
	}
	client, err := r.documents.get(ctx, documentKey{tenantID, id}, t.Record.Version, known)
	switch {
	case err == nil && known:
		return r.continued(&record, client)
	case err == nil:
		return *client, nil
	case !known || current || !errors.Is(err, errUnreachable) && !oauth.Internal(err) || ctx.Err() != nil:
		return store.Client{}, err
	}
	// The document's owner did not say that it is gone.
	if within(r.now(), record.Document.FetchedAt, documentGrace) {
		return record, nil
	}
	return store.Client{}, oauth.Unavailable(errUnreachable, documentCooldown)
}

// continued returns the client with a record whose document says what client is. As
// long as its record does not agree, the client counts as unused: its first use
// writes what it is now.
func (r *Registrar) continued(record, client *store.Client) (store.Client, error) {
	// The rules of a registration that is replaced (RFC 7592), for the same reasons.
	if was, is := (&metadata{client: *record}), (&metadata{client: *client}); is.public() && !was.public() {
		return store.Client{}, unusable(nil, "token_endpoint_auth_method: an application that authenticates cannot become one that does not; publish it under another client_id")
	}
	if subjectsOf(record) != subjectsOf(client) {
		return store.Client{}, unusable(nil, "subject_type and the sector of a pairwise subject_type cannot be changed; publish the application under another client_id")
	}
	c := *client
	c.Version, c.CreatedAt, c.ConfirmedAt, c.SecurityMode = record.Version, record.CreatedAt, record.ConfirmedAt, record.SecurityMode
	c.FirstParty, c.Blocked, c.Notes = record.FirstParty, record.Blocked, record.Notes // what the tenant decided
	c.LoginPage, c.RegisteredFrom = record.LoginPage, record.RegisteredFrom
	if !showsOtherwise(record, client) {
		c.Revision = record.Revision
	}
	was := *record
	was.Document, was.LastUsedAt = c.Document, c.LastUsedAt
	if reflect.DeepEqual(was, c) {
		c.LastUsedAt = record.LastUsedAt
	}
	return c, nil
}

// shown is what users are shown of a client, and where they return to.
type shown struct {
	Name, ApplicationType                 string
	ClientURI, LogoURI, PolicyURI, TOSURI string
	RedirectURIs                          []string
}

// revisionOf returns a number that goes with what users are shown of a client, so
// that all nodes have the same one without a record. It is keyed: otherwise a client
// could look for a harmless and a harmful document with one number.
func (r *Registrar) revisionOf(c *store.Client) int64 {
	x := c.Extra()
	look, err := json.Marshal(shown{c.Name, c.ApplicationType, x.ClientURI, x.LogoURI, x.PolicyURI, x.TOSURI, c.RedirectURIs})
	if err != nil {
		panic(err) // strings cannot fail
	}
	// The nonce is a keyed hash of what is sealed.
	sum := r.revisions.SealDeterministic(look, c.TenantID+"/"+c.ID)
	return int64(binary.BigEndian.Uint64(sum) & math.MaxInt64)
}
