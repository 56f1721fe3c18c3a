package authorize

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/tenant"
)

// Response modes.
const (
	modeQuery      = "query"
	modeFragment   = "fragment"
	modeFormPost   = "form_post"   // OAuth 2.0 Form Post Response Mode
	modeWebMessage = "web_message" // a page that posts a message to its opener
)

// Parameter is a member of an authorization response. Their order is kept.
type Parameter struct{ Name, Value string }

// send delivers an authorization response to the redirect URI, which the request
// has proven.
func (a *Authorizer) send(w http.ResponseWriter, r *http.Request, q *request, params []Parameter) {
	if q.state != "" {
		params = append(params, Parameter{"state", q.state})
	}
	failed := slices.ContainsFunc(params, func(p Parameter) bool { return p.Name == "error" })
	if state := a.sessionState(w, q, failed); state != "" {
		params = append(params, Parameter{"session_state", state})
	}
	// RFC 9207: every response says who answers, or a client of several providers
	// can be made to send one's code to another.
	params = append(params, Parameter{"iss", q.tenant.Issuer()})
	switch q.responseMode {
	case modeFormPost:
		a.pages.render(w, http.StatusOK, "form_post.html", &FormPostPage{Action: q.redirectURI, Parameters: params})
	case modeWebMessage:
		a.sendMessage(w, q, params)
	case modeFragment:
		redirect(w, r, q.redirectURI+"#"+encode(params))
	default:
		redirect(w, r, withQuery(q.redirectURI, encode(params)))
	}
}

// sendMessage answers with a page that posts the response to the window that
// opened or embeds it. The message goes to the redirect URI's origin only.
func (a *Authorizer) sendMessage(w http.ResponseWriter, q *request, params []Parameter) {
	u, err := url.Parse(q.redirectURI)
	if err != nil || u.Host == "" {
		// A private-use scheme has no origin that could receive a message.
		a.showError(w, q.tenant, http.StatusBadRequest, oauth.CodeInvalidRequest, "response_mode web_message needs an http(s) redirect_uri")
		return
	}
	response := make(map[string]any, len(params))
	for _, p := range params {
		response[p.Name] = p.Value
		if n, err := strconv.Atoi(p.Value); err == nil && p.Name == "expires_in" {
			response[p.Name] = n
		}
	}
	a.pages.render(w, http.StatusOK, "web_message.html", &WebMessagePage{
		Origin:  u.Scheme + "://" + u.Host,
		Message: map[string]any{"type": "authorization_response", "response": response},
	})
}

func encode(params []Parameter) string {
	var b strings.Builder
	for i, p := range params {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(p.Name))
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(p.Value))
	}
	return b.String()
}

// withQuery appends to the query that the registered URI may have (RFC 6749
// §3.1.2).
func withQuery(uri, query string) string {
	switch {
	case !strings.Contains(uri, "?"):
		return uri + "?" + query
	case strings.HasSuffix(uri, "?"), strings.HasSuffix(uri, "&"):
		return uri + query
	}
	return uri + "&" + query
}

// redirect sends the browser on: 302 from GET, 303 after POST so that what was
// posted (a password) is never posted again elsewhere (RFC 9700 §4.12).
func redirect(w http.ResponseWriter, r *http.Request, location string) {
	h := w.Header()
	h.Set("Location", location)
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("Referrer-Policy", "no-referrer")
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	w.WriteHeader(http.StatusFound)
}

// refuse answers a request with an error: to the client if it was proven, else
// with a page. Internal errors are logged and lose their text.
func (a *Authorizer) refuse(w http.ResponseWriter, r *http.Request, q *request, err error) {
	var t *tenant.Tenant
	if q != nil {
		t = q.tenant
	}
	if !q.redirectable() {
		a.fail(w, r, t, err)
		return
	}
	e := oauth.AsError(err)
	a.log(r, q, e)
	// An error is a response too. That the request was used up before changes
	// nothing about this answer.
	if spent := a.spend(r.Context(), q); spent != nil && oauth.Internal(spent) {
		a.log(r, q, oauth.AsError(spent))
	}
	params := []Parameter{{"error", e.Code}}
	if e.Description != "" {
		params = append(params, Parameter{"error_description", e.Description})
	}
	a.send(w, r, q, params)
}

// fail answers with a page. Nothing that came with the request is a redirect
// target here.
func (a *Authorizer) fail(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, err error) {
	e := oauth.AsError(err)
	a.log(r, &request{tenant: t}, e)
	setRetryAfter(w, e.RetryAfter)
	a.showError(w, t, e.Status, e.Code, e.Description)
}

func (a *Authorizer) log(r *http.Request, q *request, e *oauth.Error) {
	attrs := []any{"err", e, "path", r.URL.Path}
	if q.tenant != nil {
		attrs = append(attrs, "tenant", q.tenant.ID())
	}
	if q.client != nil {
		attrs = append(attrs, "client_id", q.client.ID)
	}
	if oauth.Internal(e) {
		a.cfg.Logger.ErrorContext(r.Context(), "authorization failed", attrs...)
		return
	}
	a.cfg.Logger.DebugContext(r.Context(), "authorization refused", attrs...)
}
