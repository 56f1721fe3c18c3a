package authorize

import (
	"html/template"
	"net/http"
	"strconv"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// LogoutPage is the data of logout.html. Its form posts transaction to Action.
type LogoutPage struct {
	Page
	Action      string
	Transaction string
	// ClientName is the application that asks, empty if none was named. It chose the
	// name itself unless FirstParty is set.
	ClientName string
	FirstParty bool
}

// LoggedOutPage is the data of logged_out.html.
type LoggedOutPage struct {
	Page
	// Frames are addresses of applications to load in hidden frames, so that they
	// end their own sessions (Front-Channel Logout §3).
	Frames []string
	// Location is where the browser goes when the frames are loaded or a few seconds
	// have passed, empty if it stays. It was registered.
	Location template.URL
	// Target names it: a host, or a scheme for an application on the device.
	Target string

	sources []string
}

func (p *LoggedOutPage) frameSources() []string { return p.sources }

func (a *Authorizer) showLogout(w http.ResponseWriter, r *http.Request, entry *logoutEntry, q *logoutRequest, session *store.Session) {
	page := &LogoutPage{
		Page: Page{Tenant: tenantInfo(q.tenant)}, Action: q.tenant.URL(entry.endpoint),
		Transaction: a.seal(w, r, &request{tenant: q.tenant, params: q.params}, transaction{Step: entry.step, SID: session.SID}),
	}
	if q.client != nil {
		page.ClientName, page.FirstParty = shownName(q.client), q.client.FirstParty
	}
	a.pages.render(w, http.StatusOK, "logout.html", page)
}

func (a *Authorizer) showLoggedOut(w http.ResponseWriter, q *logoutRequest, frames frames) {
	page := &LoggedOutPage{Page: Page{Tenant: tenantInfo(q.tenant)}, Frames: frames.urls, sources: frames.origins}
	if q.location != "" {
		page.Location = template.URL(q.location)
		page.Target = redirectHost(q.redirectURI)
	}
	a.pages.render(w, http.StatusOK, "logged_out.html", page)
}

// failLogout answers with a page. Nothing that came with the request is a redirect
// target here.
func (a *Authorizer) failLogout(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, err error) {
	e := oauth.AsError(err)
	if oauth.Internal(e) {
		a.cfg.Logger.ErrorContext(r.Context(), "logout failed", "tenant", t.ID(), "err", e)
	} else {
		a.cfg.Logger.DebugContext(r.Context(), "logout refused", "tenant", t.ID(), "err", e)
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(e.RetryAfter.Seconds())))
	}
	a.pages.render(w, e.Status, "logout_error.html", &ErrorPage{Page: Page{Tenant: tenantInfo(t)}, Code: e.Code, Description: e.Description})
}
