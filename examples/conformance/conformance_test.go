package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/opkit/opkit/examples/internal/browser"
)

const callback = "https://client.example/callback"

// start runs the command until the test ends and returns the issuer that it prints.
func start(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), write, t.Output())
		write.CloseWithError(err)
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, read)
	return strings.TrimSpace(strings.TrimPrefix(line, "issuer"))
}

// transport believes every certificate, as the suite does: nobody signed this one.
func transport(t *testing.T, change func(*tls.Config)) *http.Transport {
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	if change != nil {
		change(tr.TLSClientConfig)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func call(t *testing.T, client *http.Client, method, address, token, body string, v any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s %s", method, address, resp.Status, answer)
	}
	if err := json.Unmarshal(answer, v); err != nil {
		t.Fatalf("%s %s: %v in %s", method, address, err, answer)
	}
}

// One module reads what it registered (3rd_party-init-login), and every module
// deletes it in the end, which has to be answered with 204.
func TestRegistrationsCanBeReadAndDeleted(t *testing.T) {
	issuer := start(t)
	client := &http.Client{Transport: transport(t, nil)}
	var registered, read map[string]any
	call(t, client, http.MethodPost, issuer+"/oidc/register", "",
		`{"redirect_uris":["`+callback+`"],"initiate_login_uri":"https://client.example.com/login"}`, &registered)
	uri, _ := registered["registration_client_uri"].(string)
	token, _ := registered["registration_access_token"].(string)
	if !strings.HasPrefix(uri, issuer+"/") || token == "" {
		t.Fatalf("registration: %v", registered)
	}
	call(t, client, http.MethodGet, uri, token, "", &read)
	for _, name := range []string{"client_id", "redirect_uris", "initiate_login_uri", "registration_client_uri", "registration_access_token"} {
		if diff := cmp.Diff(registered[name], read[name]); diff != "" || read[name] == nil {
			t.Errorf("%s (-registered +read):\n%s", name, diff)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for _, want := range []int{http.StatusNoContent, http.StatusUnauthorized} {
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("DELETE: %s, want %d", resp.Status, want)
		}
	}
}

// OpenID Connect Core §5.1, all of the table; the suite warns about each that is
// absent.
func TestUserHasEveryStandardClaim(t *testing.T) {
	issuer := start(t)
	client := &http.Client{Transport: transport(t, nil)}
	var metadata struct {
		Issuer        string
		Authorization string `json:"authorization_endpoint"`
		Token         string `json:"token_endpoint"`
		UserInfo      string `json:"userinfo_endpoint"`
		Registration  string `json:"registration_endpoint"`
	}
	call(t, client, http.MethodGet, issuer+"/.well-known/openid-configuration", "", "", &metadata)
	if metadata.Issuer != issuer || !strings.HasPrefix(issuer, "https://localhost:") {
		t.Errorf("the metadata of %s names the issuer %s", issuer, metadata.Issuer)
	}
	var registered struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	call(t, client, http.MethodPost, metadata.Registration, "", `{"client_name":"Test","redirect_uris":["`+callback+`"]}`, &registered)
	app := oauth2.Config{
		ClientID: registered.ID, ClientSecret: registered.Secret, RedirectURL: callback,
		Endpoint: oauth2.Endpoint{AuthURL: metadata.Authorization, TokenURL: metadata.Token, AuthStyle: oauth2.AuthStyleInHeader},
		Scopes:   []string{"openid", "profile", "email", "address", "phone"},
	}

	b := browser.New(client.Transport, callback)
	page, err := b.Open(t.Context(), app.AuthCodeURL("state"))
	if err == nil {
		page, err = b.Submit(t.Context(), page, map[string]string{"username": defaultUser, "password": defaultPassword}, "")
	}
	var allow string
	if err == nil {
		allow, err = page.Button("consent-allow")
	}
	if err == nil {
		page, err = b.Submit(t.Context(), page, nil, allow)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, client)
	token, err := app.Exchange(ctx, page.Address.Query().Get("code"))
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	call(t, client, http.MethodGet, metadata.UserInfo, token.AccessToken, "", &claims)
	want := []string{
		"address", "birthdate", "email", "email_verified", "family_name", "gender", "given_name", "locale", "middle_name", "name",
		"nickname", "phone_number", "phone_number_verified", "picture", "preferred_username", "profile", "sub", "updated_at", "website", "zoneinfo",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(claims))); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

// RFC 9325 §3.1.1, §4.2: nothing before TLS 1.2, and with it AEAD and forward
// secrecy only.
func TestTLS(t *testing.T) {
	issuer := start(t)
	for name, test := range map[string]struct {
		min, max uint16
		suites   []uint16
		ok       bool
	}{
		"1.3":                     {tls.VersionTLS13, tls.VersionTLS13, nil, true},
		"1.2 AES-GCM":             {tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, true},
		"1.2 CBC is refused":      {tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}, false},
		"1.2 ChaCha20 is refused": {tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}, false},
		"1.1 is refused":          {tls.VersionTLS10, tls.VersionTLS11, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			client := &http.Client{Transport: transport(t, func(c *tls.Config) {
				c.MinVersion, c.MaxVersion, c.CipherSuites = test.min, test.max, test.suites
			})}
			resp, err := client.Get(issuer + "/.well-known/openid-configuration")
			if err == nil {
				resp.Body.Close()
			}
			if ok := err == nil; ok != test.ok {
				t.Errorf("answered: %v, want %v (%v)", ok, test.ok, err)
			}
		})
	}
}

func TestRefusedFlags(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"every interface":        {"-addr", ":0"},
		"all of IPv4":            {"-addr", "0.0.0.0:0"},
		"a file that is missing": {"-addr", "127.0.0.1:0", "-suite-cert", empty + ".missing"},
		"no certificate in it":   {"-addr", "127.0.0.1:0", "-suite-cert", empty},
		"an argument":            {"start"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // what is not refused ends at once, without an error
			var out bytes.Buffer
			if err := run(ctx, args, &out, t.Output()); err == nil {
				t.Errorf("run(%q) printed %q", args, &out)
			}
		})
	}
}

// OpenID Connect Core §10.1.1, as the module oidcc-server-rotate-keys has it: a new
// key of the same kind, and the old one is still there.
func TestRotation(t *testing.T) {
	issuer := start(t)
	client := &http.Client{Transport: transport(t, nil)}
	keys := func() (kids []string) {
		t.Helper()
		var set struct {
			Keys []struct{ KID, Alg string }
		}
		call(t, client, http.MethodGet, issuer+"/.well-known/jwks.json", "", "", &set)
		for _, k := range set.Keys {
			kids = append(kids, k.Alg+" "+k.KID)
		}
		return kids
	}
	before := keys()
	for range 2 {
		resp, err := client.Post(issuer+rotatePath, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s %s %v", resp.Status, answer, err)
		}
		after := keys()
		made := slices.DeleteFunc(slices.Clone(after), func(k string) bool { return slices.Contains(before, k) })
		if len(after) != len(before)+2 || strings.Join(made, "\n")+"\n" != string(answer) {
			t.Errorf("before %q, answered %q, after %q", before, answer, after)
		}
		before = after
	}
	resp, err := client.Get(issuer + rotatePath)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed || len(keys()) != len(before) {
		t.Errorf("GET: %s", resp.Status)
	}
}
