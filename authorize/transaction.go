package authorize

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"time"

	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/token"
)

// transaction is what travels sealed through a page's form: the parameters of the
// request, how they arrived, and what has been proved so far. It opens only in the
// browser that it was made for, for the step that it was made for.
type transaction struct {
	Step    string    `json:"s"`
	Query   string    `json:"q"`
	Browser string    `json:"b"` // digest of the browser cookie
	Begun   time.Time `json:"t"`
	// Pushed is the ticket of a pushed request, and Signed says that the parameters
	// came in an object that the client signed. Neither is looked at again: the
	// parameters were believed when the transaction began.
	Pushed store.Digest `json:"p,omitzero"`
	Signed bool         `json:"o,omitempty"`
	// SID and SessionBegan bind a consent to the login that preceded it, SID alone
	// a logout and the removal of access to the session that the page was shown in.
	SID          string    `json:"i,omitempty"`
	SessionBegan time.Time `json:"z,omitzero"`
	// Scope and Claims are what the consent page showed, Revision that of the client
	// it showed.
	Scope    oauth.Scope    `json:"x,omitempty"`
	Claims   token.ClaimSet `json:"m,omitempty"`
	Revision int64          `json:"v,omitempty"`
	// Connection is the host or upstream connection that the browser was sent to, and
	// Reauthenticate that a host is to give a fresh proof. ID is what protects the answer
	// of an upstream.
	Connection     string `json:"c,omitempty"`
	Reauthenticate bool   `json:"r,omitempty"`
	// Upstream is who another provider said the user is, UserID the user of Database who
	// has the same address: the page asks whether they are one.
	Upstream *connection.UpstreamIdentity `json:"k,omitempty"`
	Database string                       `json:"d,omitempty"`
	// CSRF and IntState have to come back with a login from a page with Lock. UserID is
	// who such a login proved to be, at AuthenticatedAt and through Connection, and ID
	// names that proof, which is used once. Password is the digest of the password hash
	// that was checked: the proof dies with it.
	CSRF            string       `json:"f,omitempty"`
	IntState        string       `json:"g,omitempty"`
	UserID          string       `json:"u,omitempty"`
	AuthenticatedAt time.Time    `json:"a,omitzero"`
	ID              string       `json:"n,omitempty"`
	Password        store.Digest `json:"w,omitzero"`
}

// Steps of a transaction.
const (
	stepLogin = "login"
	stepHost  = "host"
	// stepUpstream is another provider.
	stepUpstream = "upstream"
	// stepLink is the page that asks whether two accounts are one.
	stepLink = "link"
	// stepLock is a login page with Lock, stepLockResult what it says of a user.
	stepLock       = "lock"
	stepLockResult = "lock-result"
	stepConsent    = "consent"
	stepLogout     = "logout"
	// stepLegacyLogout is that of the older logout address.
	stepLegacyLogout = "legacy-logout"
	// Those of the applications page.
	stepAccountLogin    = "account-login"
	stepAccountHost     = "account-host"
	stepAccountUpstream = "account-upstream"
	stepAccountLink     = "account-link"
	stepRemoveAccess    = "remove-access"
)

// steps say where the ways to sign in lead to.
type steps struct{ login, loginEndpoint, host, hostEndpoint, upstream, link string }

func (a *Authorizer) stepsOf(q *request) steps {
	e := a.cfg.Tenants.Endpoints()
	if q.account {
		return steps{stepAccountLogin, e.Applications, stepAccountHost, e.Applications, stepAccountUpstream, stepAccountLink}
	}
	return steps{stepLogin, e.Login, stepHost, e.LoginCallback, stepUpstream, stepLink}
}

// seal binds tx to the browser and seals it. The browser keeps one value for all
// its tabs.
func (a *Authorizer) seal(w http.ResponseWriter, r *http.Request, q *request, tx transaction) string {
	value := ""
	if c, err := r.Cookie(cookieName(q.tenant, browserCookie)); err == nil && len(c.Value) == len(randomValue()) {
		value = c.Value
	} else {
		value = randomValue()
		c := newCookie(q.tenant, browserCookie, value)
		http.SetCookie(w, c)
		r.AddCookie(c) // a second seal in the same response uses the same value
	}
	tx.Query, tx.Pushed, tx.Signed = q.params.Encode(), q.from.pushed, q.from.signed
	tx.Browser = store.DigestOf(value).String()
	if tx.Begun.IsZero() {
		tx.Begun = a.now()
	}
	plain, err := json.Marshal(tx)
	if err != nil {
		panic(err) // strings and times always encode
	}
	return a.transactions.SealString(plain, q.tenant.ID())
}

// open returns the transaction behind a form and the request, parsed and checked
// anew. expired says that the user took too long. The error is for a page.
func (a *Authorizer) open(ctx context.Context, r *http.Request, t *tenant.Tenant, step, sealed string) (tx transaction, q *request, expired bool, err error) {
	tx, params, expired, err := a.unseal(r, t, step, sealed)
	if err != nil {
		return transaction{}, nil, false, err
	}
	q, err = a.parseRequest(ctx, t, params, origin{pushed: tx.Pushed, signed: tx.Signed})
	return tx, q, expired, err
}

// unseal returns the transaction behind a form and the parameters as they came.
func (a *Authorizer) unseal(r *http.Request, t *tenant.Tenant, step, sealed string) (tx transaction, params oauth.Parameters, expired bool, err error) {
	foreign := &oauth.Error{
		Code: oauth.CodeInvalidRequest, Status: http.StatusBadRequest,
		Description: "This page does not belong to a sign-in that began in this browser. Cookies may be blocked. Go back to the application and start again.",
	}
	plain, err := a.transactions.OpenString(sealed, t.ID())
	if err != nil || json.Unmarshal(plain, &tx) != nil || tx.Step != step {
		return transaction{}, oauth.Parameters{}, false, foreign
	}
	// The approval belongs to the browser that asked for it: otherwise an attacker
	// could hand a victim a page that was begun elsewhere, or the reverse.
	c, err := r.Cookie(cookieName(t, browserCookie))
	if err != nil {
		return transaction{}, oauth.Parameters{}, false, foreign
	}
	if subtle.ConstantTimeCompare([]byte(store.DigestOf(c.Value).String()), []byte(tx.Browser)) != 1 {
		return transaction{}, oauth.Parameters{}, false, foreign
	}
	if params, err = oauth.ParseQuery(tx.Query); err != nil {
		return transaction{}, oauth.Parameters{}, false, foreign
	}
	return tx, params, a.now().Sub(tx.Begun) > a.cfg.TransactionLifetime, nil
}

func errCrossOrigin(cause error) error {
	return oauth.WithCause(cause, oauth.CodeAccessDenied, "This form was sent from another site.")
}

// posted reads the form of a page of ours. It answers the request itself if that
// is not what it is.
func (a *Authorizer) posted(w http.ResponseWriter, r *http.Request) (*tenant.Tenant, oauth.Parameters, bool) {
	t, ok := a.resolve(w, r)
	if !ok {
		return nil, oauth.Parameters{}, false
	}
	if err := a.crossOrigin.Check(r); err != nil {
		a.fail(w, r, t, errCrossOrigin(err))
		return nil, oauth.Parameters{}, false
	}
	form, err := oauth.ParseForm(w, r)
	if err != nil {
		if oauth.AsError(err).Status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		a.fail(w, r, t, err)
		return nil, oauth.Parameters{}, false
	}
	return t, form, true
}
