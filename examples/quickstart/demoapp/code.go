package demoapp

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/oauth2"
)

// This file implements the authorization code flow with PKCE (RFC 6749 §4.1,
// RFC 7636) by means of golang.org/x/oauth2.

func (a *App) oauth2Config(m *metadata, reg *registration) *oauth2.Config {
	style := oauth2.AuthStyleInParams
	if reg.AuthMethod == "client_secret_basic" {
		style = oauth2.AuthStyleInHeader
	}
	return &oauth2.Config{
		ClientID:     reg.ClientID,
		ClientSecret: reg.ClientSecret,
		Endpoint:     oauth2.Endpoint{AuthURL: m.AuthorizationEndpoint, TokenURL: m.TokenEndpoint, AuthStyle: style},
		RedirectURL:  a.cfg.URL + codePath,
		Scopes:       append([]string{"openid", "profile", "email"}, a.cfg.Scopes...),
	}
}

func (a *App) signInCode(w http.ResponseWriter, r *http.Request) {
	m, reg, err := a.ready(r.Context())
	if err != nil {
		a.fail(w, r, err)
		return
	}
	s := signIn{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier()}
	a.pending.begin(w, a.secure(), s)
	address := a.oauth2Config(m, reg).AuthCodeURL(s.State,
		oauth2.S256ChallengeOption(s.Verifier),
		oauth2.SetAuthURLParam("nonce", s.Nonce),
		oauth2.SetAuthURLParam("audience", a.cfg.Audience))
	http.Redirect(w, r, address, http.StatusSeeOther)
}

// codePage shows what a sign-in brought.
type codePage struct {
	IDToken  []claim
	UserInfo []claim
	Scope    string
	API      string
	Answer   string
}

type claim struct{ Name, Value string }

func (a *App) codeCallback(w http.ResponseWriter, r *http.Request) {
	s, ok := a.pending.end(r, a.secure())
	if !ok {
		a.fail(w, r, notInFlight())
		return
	}
	page, err := a.finish(r, s)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.render(w, http.StatusOK, "code.html", page)
}

// finish checks the authorization response, redeems the code and uses the tokens.
func (a *App) finish(r *http.Request, s signIn) (codePage, error) {
	query := r.URL.Query()
	if query.Get("state") != s.State {
		return codePage{}, &problem{Title: "Wrong state", Detail: "The answer belongs to another sign-in."}
	}
	// RFC 9207 §2.4: a code of another provider must not be sent to this one.
	if query.Get("iss") != a.cfg.Issuer {
		return codePage{}, &problem{Title: "Wrong issuer", Detail: "The answer comes from another provider."}
	}
	if code := query.Get("error"); code != "" {
		return codePage{}, &problem{Title: "The provider refused", Detail: code + ": " + query.Get("error_description")}
	}
	m, reg, err := a.ready(r.Context())
	if err != nil {
		return codePage{}, err
	}
	ctx := context.WithValue(r.Context(), oauth2.HTTPClient, a.cfg.Client)
	tokens, err := a.oauth2Config(m, reg).Exchange(ctx, query.Get("code"), oauth2.VerifierOption(s.Verifier))
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return codePage{}, &problem{
			Title:  "The provider did not accept the code",
			Detail: refused.ErrorCode + ": " + refused.ErrorDescription,
			Hint:   "If the registration is gone (invalid_client), register again from the start page.",
		}
	}
	if err != nil {
		return codePage{}, err
	}
	idToken, _ := tokens.Extra("id_token").(string)
	claims, err := a.verifyIDToken(ctx, m, reg.ClientID, s.Nonce, idToken)
	if err != nil {
		return codePage{}, fmt.Errorf("the ID token is not acceptable: %w", err)
	}
	var userInfo, answer map[string]any
	if _, err := a.getJSON(ctx, m.UserInfoEndpoint, tokens.AccessToken, &userInfo); err != nil {
		return codePage{}, err
	}
	// OpenID Connect Core §5.3.2: userinfo counts only for the user who signed in.
	if userInfo["sub"] != claims["sub"] {
		return codePage{}, errors.New("userinfo is about another user than the ID token")
	}
	text, err := a.getJSON(ctx, a.cfg.API, tokens.AccessToken, &answer)
	if err != nil {
		return codePage{}, err
	}
	scope, _ := tokens.Extra("scope").(string)
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "  "); err != nil {
		return codePage{}, err
	}
	return codePage{
		IDToken: table(claims), UserInfo: table(userInfo), Scope: scope,
		API: a.cfg.API, Answer: strings.TrimSpace(pretty.String()),
	}, nil
}
