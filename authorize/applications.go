package authorize

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file is the page on which users see which applications have access, and
// remove it. Its forms come back to the page's own address: so does signing in,
// without which it shows nothing.

const (
	// grantsPerPage bounds what one page shows and one form removes.
	grantsPerPage = 100
	// removalTimeout bounds a removal, which goes on when the browser hangs up.
	removalTimeout = 10 * time.Second
)

// Applications serves the applications page: GET, and POST for its forms.
func (a *Authorizer) Applications() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			t, form, ok := a.posted(w, r)
			switch {
			case !ok:
			case form.Get("link") != "":
				a.link(w, r, t, form, true)
			case form.Get("grants") != "":
				a.removeAccess(w, r, t, form)
			default:
				a.loginToAccount(w, r, t, form)
			}
			return
		}
		t, ok := a.resolve(w, r)
		if !ok {
			return
		}
		params, err := readParameters(w, r, http.MethodGet, http.MethodHead, http.MethodPost)
		if err != nil {
			a.fail(w, r, t, err)
			return
		}
		if sealed := params.Get("transaction"); sealed != "" {
			a.resumeAccount(w, r, t, sealed)
			return
		}
		q := accountRequest(t)
		if s := a.accountSession(w, r, q); s != nil {
			a.showApplications(w, r, q, s, params.Get("after"), nil)
		}
	})
}

// accountRequest stands for the request of a client where there is none.
func accountRequest(t *tenant.Tenant) *request {
	return &request{
		tenant: t, account: true, maxAge: -1,
		client: &store.Client{TenantID: t.ID(), Name: "your account", FirstParty: true},
	}
}

// accountSession returns the browser's session. If there is none, it answers with
// the login page and returns nil.
func (a *Authorizer) accountSession(w http.ResponseWriter, r *http.Request, q *request) *signedIn {
	usable, err := a.usable(r.Context(), q)
	if err != nil {
		a.refuse(w, r, q, err)
		return nil
	}
	s, err := a.currentSession(w, r, q, usable)
	if err != nil {
		a.refuse(w, r, q, err)
		return nil
	}
	if s == nil {
		a.showLogin(w, r, q, usable, loginState{})
	}
	return s
}

// loginToAccount answers the login page's form.
func (a *Authorizer) loginToAccount(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, form oauth.Parameters) {
	tx, _, expired, err := a.unseal(r, t, stepAccountLogin, form.Get("transaction"))
	if err != nil {
		a.fail(w, r, t, err)
		return
	}
	q := accountRequest(t)
	usable, err := a.usable(r.Context(), q)
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	state := loginState{login: form.Get("username"), connection: form.Get("connection")}
	if expired {
		state.failure = failureExpired
		a.showLogin(w, r, q, usable, state)
		return
	}
	a.login(w, r, q, usable, tx, form.Get("password"), state)
}

// resumeAccount goes on when the host's login page has sent the browser back.
func (a *Authorizer) resumeAccount(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, sealed string) {
	tx, _, expired, err := a.unseal(r, t, stepAccountHost, sealed)
	if err == nil && expired {
		err = errLoginExpired
	}
	if err != nil {
		a.fail(w, r, t, err)
		return
	}
	a.resumeFromHost(w, r, accountRequest(t), tx)
}

// removeAccess answers the form of an application on the page.
func (a *Authorizer) removeAccess(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, form oauth.Parameters) {
	tx, _, expired, err := a.unseal(r, t, stepRemoveAccess, form.Get("transaction"))
	if err != nil {
		a.fail(w, r, t, err)
		return
	}
	ids := strings.Fields(form.Get("grants"))
	if len(ids) > grantsPerPage {
		a.fail(w, r, t, oauth.Errorf(oauth.CodeInvalidRequest, "grants has more than %d values", grantsPerPage))
		return
	}
	q := accountRequest(t)
	s := a.accountSession(w, r, q)
	if s == nil {
		return
	}
	if expired || s.session.SID != tx.SID {
		// Signed in anew, perhaps as somebody else, since the page was shown.
		a.showApplications(w, r, q, s, "", nil)
		return
	}
	removed, err := a.removeGrants(r.Context(), t, s.user.ID, ids)
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	a.showApplications(w, r, q, s, "", removed)
}

// removeGrants revokes those of the grants that are the user's, with every token
// under them, and returns the last of them, nil if there was none. The identifiers
// come from the browser: what is somebody else's, or gone, is passed over alike.
func (a *Authorizer) removeGrants(ctx context.Context, t *tenant.Tenant, userID string, ids []string) (removed *store.Grant, err error) {
	// Whoever closes the page right after the click has removed access all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTimeout)
	defer cancel()
	for _, id := range ids {
		grant, err := a.cfg.Stores.Grants.Grant(ctx, t.ID(), id, "", a.now())
		if errors.Is(err, store.ErrNotFound) || err == nil && grant.UserID != userID {
			continue
		}
		if err == nil {
			err = a.cfg.Stores.Grants.DeleteGrant(ctx, t.ID(), grant.ID)
		}
		if err != nil {
			return nil, err
		}
		a.cfg.Logger.InfoContext(ctx, "a user removed the access of a client",
			"tenant", t.ID(), "user", userID, "client_id", grant.ClientID, "audience", grant.Audience)
		audit.Emit(ctx, a.cfg.Audit, audit.Event{
			Time: a.now(), TenantID: t.ID(), Type: audit.GrantRevocation, Outcome: audit.Allowed, ClientID: grant.ClientID, UserID: userID, Subject: grant.ID,
		})
		removed = &grant
	}
	return removed, nil
}

// UserApplications returns the applications that a user allowed something, for hosts
// that show them on a page of their own, and where the next page begins: give it back
// as after, which is empty for the first page and after the last. An application with
// several grants may be on two pages. The error is store.ErrNotFound if there is no
// such tenant, or a system error.
func (a *Authorizer) UserApplications(ctx context.Context, tenantID, userID, after string) ([]ApplicationInfo, string, error) {
	if userID == "" {
		return nil, "", errors.New("authorize: UserApplications without a user") // a filter that selects everybody's
	}
	t, err := a.cfg.Tenants.Tenant(ctx, tenantID)
	if err != nil {
		return nil, "", err
	}
	return a.userApplications(ctx, t, userID, after)
}

// RemoveAccess revokes what a user allowed an application, with every token under it,
// at once; signed access tokens that an API verifies by itself live until they expire.
// grants is [ApplicationInfo].Grants and may come from a form: what is not the user's,
// or is gone, is passed over. The error is store.ErrNotFound if there is no such
// tenant, or a system error, after which calling it again continues.
func (a *Authorizer) RemoveAccess(ctx context.Context, tenantID, userID, grants string) error {
	if userID == "" {
		return errors.New("authorize: RemoveAccess without a user")
	}
	t, err := a.cfg.Tenants.Tenant(ctx, tenantID)
	if err == nil {
		_, err = a.removeGrants(ctx, t, userID, strings.Fields(grants))
	}
	return err
}

// userApplications returns a page of what the user allowed, by application, and the
// identifier after which the next page begins, empty for the last one.
func (a *Authorizer) userApplications(ctx context.Context, t *tenant.Tenant, userID, after string) ([]ApplicationInfo, string, error) {
	grants, err := a.cfg.Stores.Grants.Grants(ctx, t.ID(), store.GrantFilter{UserID: userID}, store.Page{After: after, Limit: grantsPerPage + 1})
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(grants) > grantsPerPage {
		grants = grants[:grantsPerPage]
		next = grants[grantsPerPage-1].ID
	}
	// An application has a grant for each API. If they are on several pages, it is,
	// too.
	var out []ApplicationInfo
	for i := range grants {
		g := &grants[i]
		at := slices.IndexFunc(out, func(info ApplicationInfo) bool { return info.Client.ID == g.ClientID })
		if at < 0 {
			info, err := a.applicationInfo(ctx, t, g.ClientID)
			if err != nil {
				return nil, "", err
			}
			at, out = len(out), append(out, info)
		}
		api, err := a.apiOf(ctx, t, g.Audience)
		if err != nil {
			return nil, "", err
		}
		out[at].add(g, api)
	}
	slices.SortStableFunc(out, func(x, y ApplicationInfo) int {
		return strings.Compare(strings.ToLower(x.Client.Name), strings.ToLower(y.Client.Name))
	})
	return out, next, nil
}

// applicationInfo describes the client of a grant, which may be gone.
func (a *Authorizer) applicationInfo(ctx context.Context, t *tenant.Tenant, clientID string) (ApplicationInfo, error) {
	client, err := a.cfg.Stores.Clients.Client(ctx, t.ID(), clientID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return ApplicationInfo{}, err
	}
	if err != nil {
		client = store.Client{ID: clientID, Name: "An application that is no longer registered"}
		if oauth.NamesDocument(clientID) { // what can still be said of it
			client.Document = &store.ClientDocument{}
		}
	}
	info := ApplicationInfo{Client: a.describe(&client, ""), Gone: err != nil}
	for _, uri := range client.RedirectURIs {
		if host := redirectHost(uri); host != "" && !slices.Contains(info.Hosts, host) && len(info.Hosts) < maxHosts {
			info.Hosts = append(info.Hosts, host)
		}
	}
	return info, nil
}

// apiOf returns the API with that audience, nil if there is none (any more).
func (a *Authorizer) apiOf(ctx context.Context, t *tenant.Tenant, audience string) (*store.API, error) {
	if audience == "" {
		return nil, nil
	}
	api, err := a.cfg.Tenants.API(ctx, t, audience)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return &api, err
}

// nextPage returns the address of the page after that grant.
func (a *Authorizer) nextPage(t *tenant.Tenant, after string) string {
	if after == "" {
		return ""
	}
	return withQuery(a.applicationsURL(t), "after="+url.QueryEscape(after))
}
