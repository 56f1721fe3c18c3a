package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"golang.org/x/oauth2/clientcredentials"
)

// administrator calls the management API with tokens that it fetches as it needs them.
type administrator struct {
	*http.Client
	base string // ISSUER/api/v2/, also the audience of the tokens
}

// administer lets applications register themselves, and users of the database sign in
// to them.
func administer(ctx context.Context, issuer, clientID, secret string, stdout io.Writer) error {
	a := administrator{base: issuer + "api/v2/"}
	credentials := clientcredentials.Config{
		ClientID: clientID, ClientSecret: secret, TokenURL: issuer + "oauth/token",
		EndpointParams: url.Values{"audience": {a.base}},
	}
	a.Client = credentials.Client(ctx)

	if _, err := a.call(ctx, http.MethodPatch, "tenants/settings", map[string]any{
		"flags": map[string]bool{"enable_dynamic_client_registration": true},
	}, nil); err != nil {
		return err
	}
	var connections []struct {
		ID string `json:"id"`
	}
	if _, err := a.call(ctx, http.MethodGet, "connections?name="+database, nil, &connections); err != nil {
		return err
	}
	for _, c := range connections {
		if _, err := a.call(ctx, http.MethodPatch, "connections/"+c.ID, map[string]bool{"is_domain_connection": true}, nil); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(stdout, "Applications may register at %soidc/register and use %s.\n", issuer, database)
	return err
}

// call sends body, unless it is nil, and reads the answer into result, unless that is
// nil. It returns the answer's headers.
func (a administrator) call(ctx context.Context, method, path string, body, result any) (http.Header, error) {
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, &sent)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := a.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %d %s", method, path, response.StatusCode, answer)
	}
	if result != nil {
		err = json.Unmarshal(answer, result)
	}
	return response.Header, err
}
