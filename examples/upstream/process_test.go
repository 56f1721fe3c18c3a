package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opkit/opkit/examples/internal/browser"
)

// The partner is the quickstart, in a process of its own with a database of its own, and
// ours is an application that registered itself there.
func TestPartnerInAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	program, file := filepath.Join(dir, "quickstart"), filepath.Join(dir, "state.json")
	if out, err := exec.Command("go", "build", "-o", program, "../quickstart").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program, "-tls", "-ready", "-addr", "127.0.0.1:0", "-app-addr", "", "-db", filepath.Join(dir, "data.db"), "-state", file)
	lines := bufio.NewScanner(started(t, cmd))
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Ctrl-C") { // it is served by then
	}
	var partner struct {
		Issuer   string `json:"issuer"`
		CAFile   string `json:"ca_file"`
		User     string `json:"user"`
		Password string `json:"password"`
	}
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, &partner)
	}
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := os.ReadFile(partner.CAFile)
	if err != nil {
		t.Fatal(err)
	}

	s := newSite(t)
	if !s.transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(certificate) {
		t.Fatal("no certificate")
	}
	res, err := (&http.Client{Transport: s.transport}).Post(partner.Issuer+"/oidc/register", "application/json",
		strings.NewReader(`{"client_name":"Our provider","redirect_uris":["`+s.issuer+`/login/callback"],"grant_types":["authorization_code"],"response_types":["code"]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var registered struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
	}
	if err := json.NewDecoder(res.Body).Decode(&registered); err != nil || res.StatusCode != http.StatusCreated {
		t.Fatalf("%d %v", res.StatusCode, err)
	}
	s.connect(options{ClientID: registered.ClientID, ClientSecret: registered.ClientSecret, Issuer: partner.Issuer})
	b := browser.New(s.transport, appCallback)
	through := func(page browser.Page) browser.Page {
		t.Helper()
		page = s.submit(b, page, map[string]string{"username": partner.User, "password": partner.Password}, s.pressed(page, "login-submit"))
		return s.submit(b, page, nil, s.pressed(page, "consent-allow"))
	}
	if got := s.profile(s.signIn(b, through)); !strings.Contains(got, `"email":"`+partner.User+`"`) || !strings.Contains(got, `"sub":"oidc|`+s.conn.ID+"|") {
		t.Errorf("userinfo %s", got)
	}
}
