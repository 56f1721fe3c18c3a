package demoapp

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
)

// This file implements the implicit flow (OpenID Connect Core 1.0 §3.2). The
// answer is in the fragment, which only the page's script sees: pages/implicit.js
// checks it and calls the API.

func (a *App) signInImplicit(w http.ResponseWriter, r *http.Request) {
	m, reg, err := a.ready(r.Context())
	if err != nil {
		a.fail(w, r, err)
		return
	}
	s := signIn{State: rand.Text(), Nonce: rand.Text()}
	a.pending.begin(w, a.secure(), s)
	query := url.Values{
		"audience":      {a.cfg.Audience},
		"scope":         {strings.Join(a.cfg.Scopes, " ")},
		"response_type": {"id_token token"},
		"client_id":     {reg.ClientID},
		"redirect_uri":  {a.cfg.URL + implicitPath},
		"nonce":         {s.Nonce},
		"state":         {s.State},
	}
	http.Redirect(w, r, m.AuthorizationEndpoint+"?"+query.Encode(), http.StatusSeeOther)
}

// implicitPage gives the script what it has to compare the answer with.
type implicitPage struct {
	State, Nonce, Issuer, ClientID, JWKSURI, API string
}

func (a *App) implicitCallback(w http.ResponseWriter, r *http.Request) {
	s, ok := a.pending.end(r, a.secure())
	if !ok {
		a.fail(w, r, notInFlight())
		return
	}
	m, reg, err := a.ready(r.Context())
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.render(w, http.StatusOK, "implicit.html", implicitPage{
		State: s.State, Nonce: s.Nonce, Issuer: a.cfg.Issuer, ClientID: reg.ClientID, JWKSURI: m.JWKSURI, API: a.cfg.API,
	})
}
