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

	if _, err := a.call(ctx, http.MethodPatch, "tenants/settings", "", map[string]any{
		"flags": map[string]bool{"enable_dynamic_client_registration": true},
	}, nil); err != nil {
		return err
	}
	var connections []struct {
		ID string `json:"id"`
	}
	if _, err := a.call(ctx, http.MethodGet, "connections?name="+database, "", nil, &connections); err != nil {
		return err
	}
	for _, c := range connections {
		path := "connections/" + c.ID
		var connection struct {
			Options map[string]any `json:"options"`
		}
		tag, err := a.call(ctx, http.MethodGet, path, "", nil, &connection)
		if err != nil {
			return err
		}
		if connection.Options == nil {
			connection.Options = map[string]any{}
		}
		connection.Options["disable_signup"] = true
		// Options are replaced as a whole. The tag makes sure that nobody else's are lost:
		// if the connection was changed meanwhile, this fails and changes nothing.
		if _, err := a.call(ctx, http.MethodPatch, path, tag, map[string]any{
			"is_domain_connection": true, "options": connection.Options,
		}, nil); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(stdout, "Applications may register at %soidc/register and use %s.\n", issuer, database)
	return err
}

// call sends body, unless it is nil, and reads the answer into result, unless that is
// nil. The record must be the one with that tag, unless it is empty. call returns the
// tag that the record has.
func (a administrator) call(ctx context.Context, method, path, tag string, body, result any) (string, error) {
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			return "", err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, &sent)
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	if tag != "" {
		r.Header.Set("If-Match", tag)
	}
	response, err := a.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if response.StatusCode >= 300 {
		return "", fmt.Errorf("%s %s: %d %s", method, path, response.StatusCode, answer)
	}
	if result != nil {
		err = json.Unmarshal(answer, result)
	}
	return response.Header.Get("ETag"), err
}
