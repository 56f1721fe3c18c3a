package authorize

import (
	"net/http"
	"slices"
	"time"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/token"
)

// maxHosts is how many hosts an application is shown with.
const maxHosts = 3

// ApplicationsPage is the data of applications.html. It has a form for each
// application, which posts transaction and the application's Grants as grants to
// Action.
type ApplicationsPage struct {
	Page
	Action      string
	Transaction string
	User        string // how the user is known to themselves
	// Connection is how they signed in.
	Connection ConnectionInfo
	// Applications are ordered by name.
	Applications []ApplicationInfo
	// Removed is the application whose access the user has just removed, empty if this
	// is not the answer to that.
	Removed string
	// NextURL is the address of the next page, empty on the last one. FirstURL is that
	// of the first page, empty on it.
	NextURL, FirstURL string
	// LogoutURL is where the user logs out, empty if that is not mounted.
	LogoutURL string
}

// ApplicationInfo is an application that the user allowed something.
type ApplicationInfo struct {
	// Client describes it. What belongs to one request only, RedirectHost, Loopback
	// and Private, is not set.
	Client ClientInfo
	// Hosts are where it sends users, a few at most: hosts, and schemes of
	// applications on the device.
	Hosts []string
	// Gone says that it is no longer registered.
	Gone bool
	// Grants is what the form of the application posts, or what [Authorizer.RemoveAccess]
	// is called with.
	Grants string
	// AllowedAt is when the user first allowed it something, UsedAt when they last
	// signed in with it, up to a day late.
	AllowedAt, UsedAt time.Time
	Access            []AccessInfo
	// Offline says that it has lasting access.
	Offline bool
}

// add adds a grant of the application. api is that of the grant.
func (info *ApplicationInfo) add(g *store.Grant, api *store.API) {
	if info.Grants != "" {
		info.Grants += " "
	}
	info.Grants += g.ID
	if info.AllowedAt.IsZero() || g.CreatedAt.Before(info.AllowedAt) {
		info.AllowedAt = g.CreatedAt
	}
	if g.UpdatedAt.After(info.UsedAt) {
		info.UsedAt = g.UpdatedAt
	}
	info.Offline = info.Offline || slices.Contains(g.Scopes, oauth.ScopeOfflineAccess)
	for _, access := range accessInfo(g.Scopes, token.ClaimsOf(g.Claims...)&^token.ClaimsOfScope(g.Scopes), g.Audience, api) {
		at := slices.IndexFunc(info.Access, func(a AccessInfo) bool { return a.Audience == access.Audience })
		if at < 0 {
			info.Access = append(info.Access, access)
			continue
		}
		for _, scope := range access.Scopes { // what several grants say of the user
			if !slices.Contains(info.Access[at].Scopes, scope) {
				info.Access[at].Scopes = append(info.Access[at].Scopes, scope)
			}
		}
	}
}

// showApplications answers with the page. removed is a grant of the application whose
// access was removed, nil if none was.
func (a *Authorizer) showApplications(w http.ResponseWriter, r *http.Request, q *request, s *signedIn, after string, removed *store.Grant) {
	ctx := r.Context()
	applications, next, err := a.userApplications(ctx, q.tenant, s.user.ID, after)
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	page := &ApplicationsPage{
		Page: Page{Tenant: tenantInfo(q.tenant)}, Action: a.applicationsURL(q.tenant),
		Transaction: a.seal(w, r, q, transaction{Step: stepRemoveAccess, SID: s.session.SID}),
		User:        shownUser(&s.user), Applications: applications, NextURL: a.nextPage(q.tenant, next),
	}
	if after != "" {
		page.FirstURL = page.Action
	}
	if endpoint := a.cfg.Tenants.Endpoints().EndSession; endpoint != tenant.NotMounted {
		page.LogoutURL = q.tenant.URL(endpoint)
	}
	usable, err := a.usable(ctx, q)
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	if i := slices.IndexFunc(usable, func(c store.Connection) bool { return c.ID == s.session.ConnectionID }); i >= 0 {
		page.Connection = connectionInfo(usable[i])
	}
	if removed != nil {
		info, err := a.applicationInfo(ctx, q.tenant, removed.ClientID)
		if err != nil {
			a.refuse(w, r, q, err)
			return
		}
		page.Removed = info.Client.Name
	}
	a.pages.render(w, http.StatusOK, "applications.html", page)
}
