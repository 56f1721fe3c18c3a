package authorize

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/token"
)

// authTimePrecision is that of auth_time, which has whole seconds.
const authTimePrecision = time.Second

// proceed answers for a user who is signed in: with the consent page if consent
// is needed, else with the authorization response.
func (a *Authorizer) proceed(w http.ResponseWriter, r *http.Request, q *request, s *signedIn) {
	if q.account {
		redirect(w, r, a.applicationsURL(q.tenant)) // without the transaction in the address
		return
	}
	if err := a.checkLogin(r.Context(), q, s); err != nil {
		a.refuse(w, r, q, err)
		return
	}
	grant, err := a.cfg.Stores.Grants.FindGrant(r.Context(), q.tenant.ID(), s.user.ID, q.client.ID, q.audience())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		a.refuse(w, r, q, err)
		return
	}
	q.allowedBefore = grant.ID != ""
	if a.needsConsent(q, &grant) {
		if q.prompt.none {
			// Anybody can register and ask silently, in a hidden frame. A stranger whom
			// the user never allowed anything, for no API at all, does not learn who is
			// signed in.
			if !q.client.FirstParty {
				stranger, err := a.firstTime(r, q, s, &grant)
				if err != nil {
					a.refuse(w, r, q, err)
					return
				}
				if q.allowedBefore = !stranger; stranger {
					a.refuse(w, r, q, errLoginRequired)
					return
				}
			}
			a.refuse(w, r, q, oauth.Errorf(oauth.CodeConsentRequired, "the user has to consent"))
			return
		}
		a.showConsent(w, r, q, s, &grant)
		return
	}
	q.notAsked = !q.prompt.consent && q.skipsConsent()
	a.complete(w, r, q, s, grant)
}

var errLoginRequired = oauth.Errorf(oauth.CodeLoginRequired, "the user has to sign in")

// errOtherUser is for a login as somebody else than the request names.
var errOtherUser = oauth.Errorf(oauth.CodeLoginRequired, "the user who signed in is not the one of id_token_hint, or of the claim sub")

// checkLogin refuses another user than the request names, for whom OpenID Connect
// Core §3.1.2.2 forbids tokens, and a login that is not as good as the request
// requires (§5.5.1.1). Both hold after a login that the request itself asked for,
// too.
func (a *Authorizer) checkLogin(ctx context.Context, q *request, s *signedIn) error {
	allowed, err := a.allowsUser(ctx, q, s.user.ID)
	switch {
	case err != nil:
		return err
	case !allowed:
		return errOtherUser
	case !a.meetsACR(q, s.session.ACR):
		return errUnmet
	}
	return nil
}

// allowsUser reports whether the request, if it names a user, names this one. It
// does so by the sub by which the client knows its user, which cannot be turned back
// into the user where it is pairwise; so the user's is computed and compared.
func (a *Authorizer) allowsUser(ctx context.Context, q *request, userID string) (bool, error) {
	if !q.limitsSubject() {
		return true, nil
	}
	sub, err := a.cfg.Tokens.Subject(ctx, q.tenant, q.client, userID)
	return err == nil && q.acceptsSubject(sub), err
}

// consentScope is what the user is asked to allow: the scope, and lasting access
// if a refresh token comes with it, whether or not the client named it.
func (q *request) consentScope() oauth.Scope {
	if q.offline {
		return q.scope.Union(oauth.Scope{oauth.ScopeOfflineAccess})
	}
	return q.scope
}

// needsConsent reports whether the user has to be asked. grant has no ID if there
// is none yet.
func (a *Authorizer) needsConsent(q *request, grant *store.Grant) bool {
	switch {
	case q.prompt.consent:
		return true
	case q.skipsConsent():
		return false
	case grant.ID == "" || !oauth.Scope(grant.Scopes).HasAll(q.consentScope()) || !grantedClaims(grant).Has(q.consentClaims()):
		return true
	case grant.ClientRevision != q.client.Revision:
		// It calls itself otherwise by now, or answers go elsewhere.
		return true
	}
	// RFC 8252 §8.6: any program on the user's machine can claim a loopback
	// redirect or a private scheme, so that an earlier consent says nothing about
	// who asks now.
	kind, err := oauth.ClassifyRedirectURI(q.redirectURI)
	return q.client.Strict() && (err != nil || kind != oauth.RedirectWeb)
}

// skipsConsent reports whether the user need not be asked at all: the tenant vouches
// for the client, the API that it asks for allows it, and what answers at the redirect
// URI can be nobody else. Any program can be on the user's device (RFC 8252 §8.6), but
// only the provider itself at the provider's own origin.
func (q *request) skipsConsent() bool {
	return q.client.FirstParty && (q.api == nil || q.api.SkipFirstPartyConsent) &&
		(!oauth.LeadsToDevice(q.redirectURI) || oauth.SameOrigin(q.redirectURI, q.tenant.Issuer()))
}

// Consent serves the target of the consent page's form.
func (a *Authorizer) Consent() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, form, ok := a.posted(w, r)
		if !ok {
			return
		}
		ctx := r.Context()
		tx, q, expired, err := a.open(ctx, r, t, stepConsent, form.Get("transaction"))
		if err != nil {
			a.refuseStep(w, r, t, q, err)
			return
		}
		if expired {
			a.begin(w, r, q) // ask again, with a fresh page
			return
		}
		if form.Get("decision") != "allow" {
			a.emit(r, t, audit.Event{Type: audit.Consent, Outcome: audit.Refused, ClientID: q.client.ID, Code: oauth.CodeAccessDenied})
			a.refuse(w, r, q, oauth.Errorf(oauth.CodeAccessDenied, "the user refused"))
			return
		}
		s, err := a.consentingSession(w, r, q, tx)
		if err != nil {
			a.refuse(w, r, q, err)
			return
		}
		// What may be granted can grow while the page is open, by an administrator's
		// hand, and the client can change what it calls itself; only what the page
		// showed is consented to.
		if s == nil || !tx.Scope.HasAll(q.consentScope()) || !tx.Claims.Has(q.consentClaims()) || tx.Revision != q.client.Revision {
			// Signed out, or in as somebody else, while the page was open: ask again.
			a.begin(w, r, q)
			return
		}
		if err := a.checkLogin(ctx, q, s); err != nil {
			a.refuse(w, r, q, err)
			return
		}
		grant, err := a.cfg.Stores.Grants.FindGrant(ctx, t.ID(), s.user.ID, q.client.ID, q.audience())
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			a.refuse(w, r, q, err)
			return
		}
		a.emit(r, t, audit.Event{
			Type: audit.Consent, Outcome: audit.Allowed, ClientID: q.client.ID, UserID: s.user.ID, Reasons: []string{"scope: " + q.consentScope().String()},
		})
		a.complete(w, r, q, s, grant)
	})
}

// consentingSession returns the session that the consent page was shown in. The
// demands of prompt and max_age were met then and are not raised again.
func (a *Authorizer) consentingSession(w http.ResponseWriter, r *http.Request, q *request, tx transaction) (*signedIn, error) {
	id := sessionDigest(r, q.tenant)
	if id.IsZero() {
		return nil, nil
	}
	session, err := a.cfg.Stores.Sessions.Session(r.Context(), q.tenant.ID(), id, a.now())
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a.noteSession(w, r, q, &session)
	if session.SID != tx.SID || !session.CreatedAt.Equal(tx.SessionBegan) {
		return nil, nil
	}
	s, err := a.admit(r.Context(), q, session)
	if s == nil || err != nil {
		return nil, err
	}
	if same, err := a.hostAgrees(r, q, session); !same || err != nil {
		return nil, err
	}
	return s, nil
}

// complete records the grant and sends the authorization response. A pushed request
// is used up first: of two responses to it, one is not minted.
func (a *Authorizer) complete(w http.ResponseWriter, r *http.Request, q *request, s *signedIn, grant store.Grant) {
	ctx := r.Context()
	if err := a.spend(ctx, q); err != nil {
		a.refuse(w, r, q, err)
		return
	}
	grant, err := a.saveGrant(ctx, q, s, grant)
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	if err := a.touchSession(ctx, q, s.session); err != nil {
		a.refuse(w, r, q, err)
		return
	}
	params, err := a.mint(r, q, s, grant)
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	a.send(w, r, q, params)
}

// mint returns the members of the response that the response type asks for.
func (a *Authorizer) mint(r *http.Request, q *request, s *signedIn, grant store.Grant) ([]Parameter, error) {
	authorization := token.Authorization{
		ClientID: q.client.ID, UserID: s.user.ID, ConnectionID: s.session.ConnectionID,
		GrantID: grant.ID, SID: s.session.SID,
		Scope: q.scope, Audience: q.audience(), Nonce: q.nonce,
		UserInfoClaims: q.claims.userInfo, IDTokenClaims: q.claims.idToken,
		AuthTime: s.session.AuthenticatedAt, RequireAuthTime: q.maxAge >= 0 || q.client.Extra().RequireAuthTime || q.claims.authTime,
		ACR: a.acrOf(q, s.session.ACR), AMR: s.session.AMR,
		RedirectURI: q.redirectURI, CodeChallenge: q.challenge, Offline: q.offline,
	}
	// A session that this very request began has just been looked at. Of a code that
	// comes of an older one it is checked again.
	if !s.begun {
		authorization.Session = s.session.ID
	}
	var params []Parameter
	var code string
	if q.responseType.Has(oauth.ResponseCode) {
		var err error
		if code, err = a.cfg.Tokens.Code(q.tenant, authorization); err != nil {
			return nil, err
		}
		params = append(params, Parameter{"code", code})
	}
	if !q.responseType.FrontChannel() {
		return params, nil
	}
	out, err := a.cfg.Tokens.FrontChannel(r, q.tenant, q.client, &s.user, authorization, q.responseType, code)
	if err != nil {
		return nil, err
	}
	if out.AccessToken != "" {
		params = append(params,
			Parameter{"access_token", out.AccessToken}, Parameter{"token_type", "Bearer"},
			Parameter{"expires_in", strconv.FormatInt(out.ExpiresIn, 10)})
		if out.Scope != "" {
			params = append(params, Parameter{"scope", out.Scope})
		}
	}
	if out.IDToken != "" {
		params = append(params, Parameter{"id_token", out.IDToken})
	}
	return params, nil
}

// confirmClient makes sure that the client stays, before anything is granted to it.
func (a *Authorizer) confirmClient(ctx context.Context, q *request) error {
	client, err := a.cfg.Tokens.Confirm(ctx, q.client)
	if errors.Is(err, store.ErrNotFound) {
		q.redirectURI = "" // what proved it is gone
		return errUnknownClient
	}
	// The user consented to what the page showed, not to what it became since.
	if err == nil && client.Revision == q.client.Revision {
		q.client = client
	}
	return err
}

// saveGrant makes sure that the grant exists and covers the scope and the claims.
// Two pages that consent at the same time both succeed: the loser reads what the
// winner wrote.
func (a *Authorizer) saveGrant(ctx context.Context, q *request, s *signedIn, grant store.Grant) (store.Grant, error) {
	if err := a.confirmClient(ctx, q); err != nil {
		return store.Grant{}, err
	}
	scope, claims := q.consentScope(), q.consentClaims()
	// What nobody was asked for must not count as allowed, once the client is a third
	// party or the API wants users to be asked.
	revision := q.client.Revision
	if q.notAsked {
		revision = store.NotAsked
	}
	for range 3 {
		now := a.now()
		covered := oauth.Scope(grant.Scopes).HasAll(scope) && grantedClaims(&grant).Has(claims)
		var err error
		switch {
		case grant.ID == "":
			grant = store.Grant{
				TenantID: q.tenant.ID(), ID: rand.Text(), UserID: s.user.ID, ClientID: q.client.ID, Audience: q.audience(),
				Scopes: scope, Claims: claims.Names(), ConnectionID: s.session.ConnectionID, ClientRevision: revision,
				Version: 1, CreatedAt: now, UpdatedAt: now,
			}
			err = a.cfg.Stores.Grants.CreateGrant(ctx, grant)
		case !q.notAsked && grant.ClientRevision != q.client.Revision:
			// What was allowed to the client as it was says nothing about it as it is.
			// The tokens that it has keep what they have.
			grant.Scopes, grant.Claims = scope, claims.Names()
			grant.ClientRevision, grant.ConnectionID, grant.UpdatedAt = q.client.Revision, s.session.ConnectionID, now
			err = a.cfg.Stores.Grants.UpdateGrant(ctx, grant)
		case covered:
			a.touchGrant(ctx, grant, now)
			return grant, nil
		default:
			grant.Scopes = oauth.Scope(grant.Scopes).Union(scope)
			grant.Claims = (token.ClaimsOf(grant.Claims...) | claims).Names()
			grant.ClientRevision, grant.ConnectionID, grant.UpdatedAt = revision, s.session.ConnectionID, now
			err = a.cfg.Stores.Grants.UpdateGrant(ctx, grant)
		}
		if err == nil {
			return grant, nil
		}
		if !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			return store.Grant{}, err
		}
		grant, err = a.cfg.Stores.Grants.FindGrant(ctx, q.tenant.ID(), s.user.ID, q.client.ID, q.audience())
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return store.Grant{}, err
		}
	}
	return store.Grant{}, oauth.Unavailable(store.ErrConflict, time.Second)
}

// grantUsedEvery is how far UpdatedAt of a grant may lag behind its use.
const grantUsedEvery = 24 * time.Hour

// touchGrant notes that the user signed in with the application again, at most once
// in grantUsedEvery. It is bookkeeping: nothing that goes wrong here fails the
// request, and a grant that was revoked meanwhile is not made anew.
func (a *Authorizer) touchGrant(ctx context.Context, grant store.Grant, now time.Time) {
	if now.Sub(grant.UpdatedAt) < grantUsedEvery {
		return
	}
	grant.UpdatedAt = now
	err := a.cfg.Stores.Grants.UpdateGrant(ctx, grant)
	if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
		a.cfg.Logger.WarnContext(ctx, "grant could not be marked as used", "tenant", grant.TenantID, "client_id", grant.ClientID, "err", err)
	}
}
