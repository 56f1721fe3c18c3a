package demoapp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
)

// This file implements the client's side of OpenID Connect Discovery 1.0 and
// RFC 7591 (Dynamic Client Registration).

const (
	implicitPath = "/callback"
	codePath     = "/callback/code"
	clientName   = "Bookings by Marlow & Finch"
	maxAnswer    = 1 << 20
)

// metadata is the part of the provider's metadata that the application uses.
type metadata struct {
	Issuer                string `json:"issuer"`
	AuthorizationEndpoint string `json:"authorization_endpoint"`
	TokenEndpoint         string `json:"token_endpoint"`
	UserInfoEndpoint      string `json:"userinfo_endpoint"`
	RegistrationEndpoint  string `json:"registration_endpoint"`
	JWKSURI               string `json:"jwks_uri"`
}

// registration is the answer to a registration (RFC 7591 §3.2.1), with what it
// was for.
type registration struct {
	Issuer       string   `json:"issuer"`
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	RedirectURIs []string `json:"redirect_uris"`
	AuthMethod   string   `json:"token_endpoint_auth_method"`
}

func (a *App) redirectURIs() []string {
	return []string{a.cfg.URL + implicitPath, a.cfg.URL + codePath}
}

// ready returns what is needed to sign in: the provider's metadata, and a
// registration, which it makes if there is none.
func (a *App) ready(ctx context.Context) (*metadata, *registration, error) {
	a.mu.Lock() // one registration, however many visitors arrive at once
	defer a.mu.Unlock()
	reg := a.known()
	if a.metadata == nil || reg == nil {
		// Without a registration it is read again: it says where to register only
		// while that is open.
		m, err := a.discover(ctx)
		if err != nil {
			return nil, nil, err
		}
		a.metadata = m
	}
	if reg != nil {
		return a.metadata, reg, nil
	}
	reg, err := a.register(ctx, a.metadata.RegistrationEndpoint)
	if err != nil {
		return nil, nil, err
	}
	a.registration = reg
	return a.metadata, reg, a.keep(reg)
}

func (a *App) discover(ctx context.Context) (*metadata, error) {
	var m metadata
	address := strings.TrimSuffix(a.cfg.Issuer, "/") + "/.well-known/openid-configuration"
	if _, err := a.getJSON(ctx, address, "", &m); err != nil {
		return nil, err
	}
	// OpenID Connect Discovery §4.3: or another provider could answer for this one.
	if m.Issuer != a.cfg.Issuer {
		return nil, fmt.Errorf("the metadata is of issuer %q, not %q", m.Issuer, a.cfg.Issuer)
	}
	return &m, nil
}

// hint is shown with any failure to register.
const hint = "Registration is off for a new tenant. Switch it on with the commands that the quickstart printed, or start it with -ready."

func (a *App) register(ctx context.Context, endpoint string) (*registration, error) {
	if endpoint == "" {
		return nil, &problem{
			Title:  "The application could not register",
			Detail: "The provider's metadata has no registration_endpoint.",
			Hint:   hint,
		}
	}
	body, err := json.Marshal(map[string]any{
		"client_name":   clientName,
		"redirect_uris": a.redirectURIs(),
	})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.cfg.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		registration
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("registration: %s: %w", resp.Status, err)
	}
	if resp.StatusCode != http.StatusCreated {
		return nil, &problem{
			Title:  "The application could not register",
			Detail: fmt.Sprintf("%s: %s (%s)", answer.Error, answer.Description, resp.Status),
			Hint:   hint,
		}
	}
	reg := answer.registration
	reg.Issuer = a.cfg.Issuer
	return &reg, nil
}

// known returns the registration for this provider at this address, if there is
// one. a.mu is held.
func (a *App) known() *registration {
	if a.registration != nil || a.cfg.RegistrationFile == "" {
		return a.registration
	}
	text, err := os.ReadFile(a.cfg.RegistrationFile)
	if err != nil {
		return nil
	}
	var reg registration
	if json.Unmarshal(text, &reg) != nil || reg.Issuer != a.cfg.Issuer ||
		strings.Join(reg.RedirectURIs, " ") != strings.Join(a.redirectURIs(), " ") {
		return nil
	}
	a.registration = &reg
	return a.registration
}

func (a *App) keep(reg *registration) error {
	if a.cfg.RegistrationFile == "" {
		return nil
	}
	text, err := json.MarshalIndent(reg, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(a.cfg.RegistrationFile, text, 0o600) // it holds a secret
}

func (a *App) forget() error {
	if a.cfg.RegistrationFile == "" {
		return nil
	}
	if err := os.Remove(a.cfg.RegistrationFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// getJSON gets address with an access token, if there is one, and decodes the
// answer into v. It returns the answer's text.
func (a *App) getJSON(ctx context.Context, address, accessToken string, v any) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if accessToken != "" {
		req.Header.Set("Authorization", "Bearer "+accessToken)
	}
	resp, err := a.cfg.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s %s %s", address, resp.Status, resp.Header.Get("WWW-Authenticate"), text)
	}
	return text, json.Unmarshal(text, v)
}
