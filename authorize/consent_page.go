package authorize

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/token"
)

// ConsentPage is the data of consent.html. Its form posts transaction and
// decision (allow or deny) to Action.
type ConsentPage struct {
	Page
	Client      ClientInfo
	Action      string
	Transaction string
	User        string // how the user is known to themselves
	FirstTime   bool   // the user never allowed this application anything
	Changed     bool   // it calls itself or returns to something else than when the user allowed it
	// Access is what is asked for. It is empty if that is no more than to know that
	// the user signed in.
	Access []AccessInfo
	// Offline says that the access lasts until the user removes it.
	Offline bool
	// ApplicationsURL is the page where users remove access, empty if it is not
	// mounted.
	ApplicationsURL string
}

// AccessInfo is access to one API, or to what the provider knows about the user.
type AccessInfo struct {
	// API is the name of the API and Audience its identifier. Both are empty for what
	// the provider knows about the user.
	API, Audience string
	// Scopes may be empty: an API can be used without any.
	Scopes []ScopeInfo
}

// ScopeInfo is a permission.
type ScopeInfo struct {
	Value, Description string
	// Claim says that Value is not a scope but a claim that the application asks for
	// by its name.
	Claim bool
}

func (a *Authorizer) showConsent(w http.ResponseWriter, r *http.Request, q *request, s *signedIn, grant *store.Grant) {
	firstTime, err := a.firstTime(r, q, s, grant)
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	a.pages.render(w, http.StatusOK, "consent.html", &ConsentPage{
		Page: Page{Tenant: tenantInfo(q.tenant)}, Client: a.clientInfo(q),
		Action: q.tenant.URL(a.cfg.Tenants.Endpoints().Consent),
		Transaction: a.seal(w, r, q, transaction{
			Step: stepConsent, SID: s.session.SID, SessionBegan: s.session.CreatedAt,
			Scope: q.consentScope(), Claims: q.consentClaims(), Revision: q.client.Revision,
		}),
		User:      shownUser(&s.user),
		FirstTime: firstTime, Changed: grant.ID != "" && grant.ClientRevision != q.client.Revision && grant.ClientRevision != store.NotAsked,
		Access: accessInfo(q.consentScope(), q.consentClaims(), q.audience(), q.api), Offline: q.offline,
		ApplicationsURL: a.applicationsURL(q.tenant),
	})
}

// firstTime reports whether the user never allowed the application anything. grant is
// the one for the API that is asked for now; there may be others.
func (a *Authorizer) firstTime(r *http.Request, q *request, s *signedIn, grant *store.Grant) (bool, error) {
	if grant.ID != "" {
		return false, nil
	}
	others, err := a.cfg.Stores.Grants.Grants(r.Context(), q.tenant.ID(),
		store.GrantFilter{UserID: s.user.ID, ClientID: q.client.ID}, store.Page{Limit: 1})
	return len(others) == 0, err
}

// shownUser is how users recognise their account.
func shownUser(u *store.User) string {
	return oauth.ShownText(cmp.Or(u.Email, u.Username, u.Profile.Name, u.ID))
}

// applicationsURL returns the address of the applications page, empty if it is not
// mounted.
func (a *Authorizer) applicationsURL(t *tenant.Tenant) string {
	if endpoint := a.cfg.Tenants.Endpoints().Applications; endpoint != tenant.NotMounted {
		return t.URL(endpoint)
	}
	return ""
}

// standardScopes says what the scopes of OpenID Connect Core §5.4 disclose.
var standardScopes = map[string]string{
	oauth.ScopeOpenID:  "Know that you signed in, by an identifier",
	oauth.ScopeProfile: "See your profile, such as your name and picture",
	oauth.ScopeEmail:   "See your email address",
	oauth.ScopeAddress: "See your postal address",
	oauth.ScopePhone:   "See your phone number",
}

// accessInfo groups what is asked for, or was allowed, by what it gives access to.
// Lasting access is not part of it. api is nil if there is none with that audience
// (any more).
func accessInfo(scope oauth.Scope, claims token.ClaimSet, audience string, api *store.API) []AccessInfo {
	var about AccessInfo
	target := AccessInfo{API: audience, Audience: audience}
	var described []store.APIScope
	if api != nil {
		target.API, described = cmp.Or(api.Name, audience), api.Scopes
	}
	for _, value := range scope {
		// An API may give a standard scope a meaning of its own; then it has both.
		description, standard := standardScopes[value]
		if standard {
			about.Scopes = append(about.Scopes, ScopeInfo{Value: value, Description: description})
		}
		i := slices.IndexFunc(described, func(s store.APIScope) bool { return s.Value == value })
		switch {
		case i >= 0:
			target.Scopes = append(target.Scopes, ScopeInfo{Value: value, Description: strings.TrimSpace(described[i].Description)})
		case !standard && value != oauth.ScopeOfflineAccess:
			target.Scopes = append(target.Scopes, ScopeInfo{Value: value})
		}
	}
	about.Scopes = append(about.Scopes, claimInfo(claims)...)
	var out []AccessInfo
	if len(about.Scopes) > 0 {
		out = append(out, about)
	}
	if audience != "" || len(target.Scopes) > 0 {
		out = append(out, target)
	}
	return out
}
