package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/tenant/console"
)

const (
	consolePath     = "/console"
	consoleClientID = "quickstart-console"
)

// consoleClient makes the first-party application with which administrators sign in to
// the console, and lets it use the connection. It returns the secret.
func (s *setup) consoleClient(ctx context.Context, t *tenant.Tenant, conn store.Connection) (string, error) {
	secret, err := s.secret.derive("client secret", consoleClientID)
	if err != nil {
		return "", err
	}
	redirectURI := originOf(t.Issuer()) + consolePath + "/callback"
	client, err := ensure(func() (store.Client, error) {
		return s.stores.Clients.Client(ctx, t.ID(), consoleClientID)
	}, func() (store.Client, error) {
		c, _, err := s.provider.Clients().CreateClient(ctx, store.Client{
			TenantID: t.ID(), ID: consoleClientID, Name: "Quickstart console", FirstParty: true,
			TokenEndpointAuthMethod: "client_secret_post", RedirectURIs: []string{redirectURI}, ApplicationType: applicationType(redirectURI),
		}, secret)
		return c, err
	})
	if err != nil {
		return "", err
	}
	if !slices.Equal(client.RedirectURIs, []string{redirectURI}) { // another -addr than the last time
		_, _, err := s.provider.Clients().UpdateClient(ctx, t.ID(), consoleClientID, func(c *store.Client) error {
			c.RedirectURIs, c.ApplicationType = []string{redirectURI}, applicationType(redirectURI)
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	if slices.Contains(conn.EnabledClients, consoleClientID) {
		return secret, nil
	}
	_, err = s.provider.Connections().Update(ctx, t.ID(), conn.ID, func(c *store.Connection) error {
		if !slices.Contains(c.EnabledClients, consoleClientID) {
			c.EnabledClients = append(c.EnabledClients, consoleClientID)
		}
		return nil
	})
	return secret, err
}

// applicationType is what registration wants of a redirect URI on loopback.
func applicationType(redirectURI string) string {
	if strings.HasPrefix(redirectURI, "http:") {
		return "native"
	}
	return "web"
}

// newConsole returns the console. The quickstart's user is its administrator.
func (q *quickstart) newConsole(p *opkit.Provider, m *made) (http.Handler, error) {
	origin := originOf(q.issuer)
	visitors := &administrators{
		oauth: oauth2.Config{
			ClientID: consoleClientID, ClientSecret: m.consoleSecret, RedirectURL: origin + consolePath + "/callback", Scopes: []string{"openid", "email"},
			Endpoint: oauth2.Endpoint{
				AuthURL: joinURL(q.issuer, "/authorize"), TokenURL: joinURL(q.issuer, "/oauth/token"), AuthStyle: oauth2.AuthStyleInParams,
			},
		},
		userInfo: joinURL(q.issuer, "/userinfo"), client: q.client(), secure: strings.HasPrefix(origin, "https:"),
		userID: m.userID, name: m.User, scopes: m.mgmtScopes, sessions: map[string]time.Time{}, logger: q.logger,
	}
	return console.New(console.Config{
		Provider: p, Issuer: q.issuer, ClientID: m.MgmtClientID, ClientSecret: m.MgmtClientSecret,
		Path: consolePath, Admit: visitors.admit, Logger: q.logger,
	})
}

// administrators signs visitors of the console in through the provider itself, as any
// application would, and lets one user in.
type administrators struct {
	oauth    oauth2.Config
	userInfo string
	client   *http.Client
	secure   bool

	userID, name string
	scopes       []string

	mu       sync.Mutex
	sessions map[string]time.Time // by random value, when each ends
	logger   *slog.Logger
}

const (
	consoleSession  = time.Hour
	sessionCookie   = "quickstart_console"
	loginCookie     = "quickstart_console_login" // state and PKCE verifier of a login under way
	loginCookieLife = 10 * time.Minute
)

func (a *administrators) admit(w http.ResponseWriter, r *http.Request) (console.Visitor, bool) {
	switch {
	case r.URL.Path == consolePath+"/callback":
		a.callback(w, r)
	case a.signedIn(r):
		return console.Visitor{Name: a.name, Scopes: a.scopes}, true
	default:
		state, verifier := rand.Text(), oauth2.GenerateVerifier()
		a.setCookie(w, loginCookie, state+"."+verifier, loginCookieLife)
		http.Redirect(w, r, a.oauth.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)), http.StatusSeeOther)
	}
	return console.Visitor{}, false
}

func (a *administrators) signedIn(r *http.Request) bool {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Now().Before(a.sessions[cookie.Value])
}

// callback ends a login.
func (a *administrators) callback(w http.ResponseWriter, r *http.Request) {
	cookie, err := r.Cookie(loginCookie)
	state, verifier, ok := "", "", false
	if err == nil {
		state, verifier, ok = strings.Cut(cookie.Value, ".")
	}
	query := r.URL.Query()
	switch {
	case !ok || query.Get("state") != state:
		http.Error(w, "This login was not started here. Go back to the console and try again.", http.StatusBadRequest)
		return
	case query.Get("error") != "":
		http.Error(w, "Nobody signed in.", http.StatusForbidden)
		return
	}
	userID, err := a.whoIs(r.Context(), query.Get("code"), verifier)
	switch {
	case err != nil:
		a.logger.ErrorContext(r.Context(), "signing in to the console failed", "err", err)
		http.Error(w, "The login failed. Go back to the console and try again.", http.StatusBadGateway)
		return
	case userID != a.userID:
		http.Error(w, "You are not an administrator of this quickstart.", http.StatusForbidden)
		return
	}
	session := rand.Text()
	now := time.Now()
	a.mu.Lock()
	for value, end := range a.sessions {
		if now.After(end) {
			delete(a.sessions, value)
		}
	}
	a.sessions[session] = now.Add(consoleSession)
	a.mu.Unlock()
	a.setCookie(w, loginCookie, "", -time.Second)
	a.setCookie(w, sessionCookie, session, consoleSession)
	http.Redirect(w, r, consolePath+"/", http.StatusSeeOther)
}

// whoIs redeems a code and asks whose it is.
func (a *administrators) whoIs(ctx context.Context, code, verifier string) (string, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, a.client)
	token, err := a.oauth.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return "", err
	}
	res, err := a.oauth.Client(ctx, token).Get(a.userInfo)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var claims struct {
		Subject string `json:"sub"`
	}
	if err := json.NewDecoder(res.Body).Decode(&claims); err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK || claims.Subject == "" {
		return "", errors.New(fmt.Sprint("userinfo answered ", res.StatusCode))
	}
	return claims.Subject, nil
}

func (a *administrators) setCookie(w http.ResponseWriter, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: consolePath, MaxAge: int(life / time.Second), HttpOnly: true, Secure: a.secure, SameSite: http.SameSiteLaxMode,
	})
}
