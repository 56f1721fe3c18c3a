package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// api calls the management API in the name of visitors. It keeps a token for each set
// of scopes that visitors have.
type api struct {
	cfg *Config

	mu     sync.Mutex
	tokens map[string]grantedToken
}

type grantedToken struct {
	value   string
	expires time.Time
}

const (
	// maxTokens bounds how many sets of scopes are remembered.
	maxTokens = 64
	// tokenMargin is for how long before its end a token is no longer used.
	tokenMargin = time.Minute
)

func newAPI(cfg *Config) *api { return &api{cfg: cfg, tokens: map[string]grantedToken{}} }

// answer is a response that was made in this process.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(data []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(data)
}

// do sends a request to the provider.
func (a *api) do(ctx context.Context, method, address, contentType, authorization, body string) (*answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.RequestURI = r.URL.RequestURI()
	r.RemoteAddr = "127.0.0.1:0"
	// As servers hand requests to handlers.
	r.URL.Scheme, r.URL.Host = "", ""
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := &answer{header: http.Header{}}
	a.cfg.Provider.ServeHTTP(w, r)
	return w, nil
}

// token returns a management token with the visitor's scopes.
func (a *api) token(ctx context.Context, v *Visitor) (string, error) {
	scopes := slices.Compact(slices.Sorted(slices.Values(v.Scopes)))
	// An empty text is no scope, but what splitting an empty list gives. A request for
	// an empty scope is one for everything (RFC 6749 §3.3).
	scopes = slices.DeleteFunc(scopes, func(scope string) bool { return strings.TrimSpace(scope) == "" })
	if len(scopes) == 0 {
		return "", errForbidden
	}
	key := strings.Join(scopes, " ")
	now := a.cfg.Now()
	a.mu.Lock()
	known, ok := a.tokens[key]
	a.mu.Unlock()
	if ok && now.Before(known.expires) {
		return known.value, nil
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {a.cfg.ClientID}, "client_secret": {a.cfg.ClientSecret},
		"audience": {strings.TrimSuffix(a.cfg.Issuer, "/") + "/api/v2/"}, "scope": {key},
	}
	res, err := a.do(ctx, http.MethodPost, a.cfg.Token, "application/x-www-form-urlencoded", "", form.Encode())
	if err != nil {
		return "", err
	}
	var body struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	if err := json.Unmarshal(res.body.Bytes(), &body); err != nil || res.status != http.StatusOK || body.AccessToken == "" {
		return "", fmt.Errorf("console: the token endpoint answered %d %s", res.status, res.body.String())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.tokens) >= maxTokens {
		clear(a.tokens)
	}
	a.tokens[key] = grantedToken{body.AccessToken, now.Add(time.Duration(body.ExpiresIn)*time.Second - tokenMargin)}
	return body.AccessToken, nil
}

// forget drops tokens that the API did not accept.
func (a *api) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.tokens)
}

var errForbidden = &failure{http.StatusForbidden, "You may not do this."}

// call calls the management API and decodes the answer into out, unless that is nil.
// What the API says to people becomes a [failure].
func (v *visit) call(method, path string, in, out any) error {
	body, contentType := "", ""
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body, contentType = string(encoded), "application/json"
	}
	ctx := v.r.Context()
	for attempt := 0; ; attempt++ {
		token, err := v.c.api.token(ctx, &v.visitor)
		if err != nil {
			return err
		}
		res, err := v.c.api.do(ctx, method, v.c.cfg.Management+path, contentType, "Bearer "+token, body)
		if err != nil {
			return err
		}
		switch {
		case res.status == http.StatusUnauthorized && attempt == 0: // a key was revoked, perhaps
			v.c.api.forget()
			continue
		case res.status == http.StatusForbidden:
			// What the visitor may is also bounded by what the console's client may.
			v.c.cfg.Logger.InfoContext(ctx, "the management API refused the console", "method", method, "path", path, "visitor", v.visitor.Name, "answer", res.body.String())
			return errForbidden
		case res.status >= 400 && res.status < 500 && res.status != http.StatusUnauthorized:
			var said struct {
				Message string `json:"message"`
			}
			if err := json.Unmarshal(res.body.Bytes(), &said); err == nil && said.Message != "" {
				return &failure{res.status, said.Message}
			}
		}
		if res.status >= 300 {
			return fmt.Errorf("console: %s %s answered %d %s", method, path, res.status, res.body.String())
		}
		if out == nil {
			return nil
		}
		if err := json.Unmarshal(res.body.Bytes(), out); err != nil {
			return fmt.Errorf("console: %s %s: %w", method, path, err)
		}
		return nil
	}
}
