package clients

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	zitadelclient "github.com/zitadel/oidc/v3/pkg/client"
	"github.com/zitadel/oidc/v3/pkg/client/rp"
	httphelper "github.com/zitadel/oidc/v3/pkg/http"
	zitadel "github.com/zitadel/oidc/v3/pkg/oidc"
	"golang.org/x/oauth2"
)

// everyForm are paths of issuers in every form that a client may take amiss.
var everyForm = []string{"", "/", "/tenants/acme", "/tenants/acme/"}

// registered is what a client that registers itself has to know of the answer.
type registered struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
}

// register registers a client. The Go libraries leave that to the application.
func register(t *testing.T, endpoint, redirectURI string) registered {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"client_name": "Go", "redirect_uris": []string{redirectURI}, "application_type": "native",
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
	})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(endpoint, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var out registered
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || res.StatusCode != http.StatusCreated {
		t.Fatalf("%d %v", res.StatusCode, err)
	}
	return out
}

func TestGoOIDC(t *testing.T) {
	onEach(t, everyForm, func(t *testing.T, issuer string) {
		const redirectURI = "http://127.0.0.1:9/callback"
		ctx := t.Context()
		p, err := oidc.NewProvider(ctx, issuer)
		if err != nil {
			t.Fatal(err)
		}
		var metadata struct {
			Registration  string `json:"registration_endpoint"`
			Introspection string `json:"introspection_endpoint"`
		}
		if err := p.Claims(&metadata); err != nil {
			t.Fatal(err)
		}
		client := register(t, metadata.Registration, redirectURI)
		config := oauth2.Config{
			ClientID: client.ID, ClientSecret: client.Secret, Endpoint: p.Endpoint(), RedirectURL: redirectURI,
			Scopes: []string{oidc.ScopeOpenID, "profile", "email", oidc.ScopeOfflineAccess, "read:notes"},
		}
		verifier := oauth2.GenerateVerifier()
		back, err := signIn(ctx, config.AuthCodeURL("state", oidc.Nonce("nonce"), oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("audience", audience)), redirectURI)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := url.Parse(back)
		if err != nil || answer.Query().Get("state") != "state" || answer.Query().Get("iss") != issuer {
			t.Fatal(back)
		}
		token, err := config.Exchange(ctx, answer.Query().Get("code"), oauth2.VerifierOption(verifier))
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := token.Extra("id_token").(string)
		idToken, err := p.VerifierContext(ctx, &oidc.Config{ClientID: client.ID}).Verify(ctx, raw)
		if err != nil || idToken.Nonce != "nonce" {
			t.Fatalf("%+v %v", idToken, err)
		}
		// x/oauth2 refreshes by itself, without saying for which API.
		expired := *token
		expired.Expiry = expired.Expiry.AddDate(-1, 0, 0)
		fresh, err := config.TokenSource(ctx, &expired).Token()
		if err != nil || fresh.AccessToken == token.AccessToken || fresh.RefreshToken == token.RefreshToken {
			t.Fatalf("the tokens were not replaced: %v", err)
		}
		info, err := p.UserInfo(ctx, oauth2.StaticTokenSource(fresh))
		if err != nil || info.Subject != idToken.Subject || info.Email != user || !info.EmailVerified {
			t.Fatalf("%+v %v", info, err)
		}
		access, err := p.VerifierContext(ctx, &oidc.Config{ClientID: audience}).Verify(ctx, fresh.AccessToken)
		if err != nil || access.Subject != idToken.Subject {
			t.Errorf("the access token is not for the API: %v", err)
		}
	})
}

// The handlers of this library keep state and verifier in a cookie, and check iss.
func TestZitadelRelyingParty(t *testing.T) {
	onEach(t, everyForm, func(t *testing.T, issuer string) {
		app := http.NewServeMux()
		server := httptest.NewServer(app)
		t.Cleanup(server.Close)
		redirectURI := server.URL + "/callback"

		discovered, err := zitadelclient.Discover(t.Context(), issuer, http.DefaultClient)
		if err != nil {
			t.Fatal(err)
		}
		client := register(t, discovered.RegistrationEndpoint, redirectURI)
		key := bytes.Repeat([]byte{5}, 32)
		cookies := httphelper.NewCookieHandler(key, key, httphelper.WithUnsecure())
		party, err := rp.NewRelyingPartyOIDC(t.Context(), issuer, client.ID, client.Secret, redirectURI, []string{"openid", "email", "offline_access"},
			rp.WithCookieHandler(cookies), rp.WithPKCE(cookies))
		if err != nil {
			t.Fatal(err)
		}
		app.Handle("/login", rp.AuthURLHandler(func() string { return "state" }, party))
		app.Handle("/callback", rp.CodeExchangeHandler(rp.UserinfoCallback(
			func(w http.ResponseWriter, r *http.Request, tokens *zitadel.Tokens[*zitadel.IDTokenClaims], _ string, party rp.RelyingParty, info *zitadel.UserInfo) {
				fresh, err := rp.RefreshTokens[*zitadel.IDTokenClaims](r.Context(), party, tokens.RefreshToken, "", "")
				if err == nil {
					err = rp.RevokeToken(r.Context(), party, fresh.RefreshToken, "refresh_token")
				}
				if err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
					return
				}
				http.Redirect(w, r, "/done?email="+url.QueryEscape(info.Email), http.StatusFound)
			}), party))
		back, err := signIn(t.Context(), server.URL+"/login", server.URL+"/done")
		if err != nil || back != server.URL+"/done?email="+url.QueryEscape(user) {
			t.Errorf("%s %v", back, err)
		}
	})
}
