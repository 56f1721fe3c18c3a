package main

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opkit/opkit/examples/internal/tool"
)

// The walkthrough succeeds in every way to run the quickstart.
func TestWalkthrough(t *testing.T) {
	for name, args := range map[string][]string{
		"as it is":                     nil,
		"https":                        {"-tls"},
		"in memory":                    {"-store", "memory"},
		"registration was already on":  {"-ready"},
		"other names and passwords":    {"-user", "grace", "-password", "it's a \"secret\"", "-mgmt-client-id", "machine", "-mgmt-client-secret", strings.Repeat("s3cret", 8)},
		"everything at once, on files": {"-tls", "-ready", "-db", filepath.Join(t.TempDir(), "walk.db"), "-app-addr", "127.0.0.1:0", "-pprof", "127.0.0.1:0"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, append([]string{"-walkthrough"}, args...)...)
			var out bytes.Buffer
			cmd.Stdout = &out
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			if !strings.Contains(out.String(), "everything is as the page says") || strings.Contains(out.String(), "NOT SO") {
				t.Errorf("%s", &out)
			}
			left, err := filepath.Glob(filepath.Join(cmd.Dir, "*"))
			if err != nil || len(left) > 0 {
				t.Errorf("it left %q behind, %v", left, err)
			}
		})
	}
}

// A walk tells when something is not as the page says.
func TestWalkthroughFails(t *testing.T) {
	p := start(t, t.TempDir(), "-mode", "strict")
	w := p.walk(t, http.DefaultTransport)
	err := w.run(t.Context(), http.DefaultTransport)
	if err == nil && w.failures == 0 {
		t.Error("a strict tenant is as the page says")
	}
}

// The commands that the quickstart prints work as they are, pasted into a shell.
func TestPrintedCommands(t *testing.T) {
	tool.Need(t, "curl")
	bash := tool.Need(t, "bash")
	for name, args := range map[string][]string{
		"http":                      nil,
		"https":                     {"-tls"},
		"ready":                     {"-ready"},
		"a password that is quoted": {"-mgmt-client-secret", `it's "quoted" & $HOME`},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, t.TempDir(), args...)
			_, commands, ok := strings.Cut(p.printed, "in order.\n")
			if !ok {
				t.Fatalf("it printed no commands:\n%s", p.printed)
			}
			commands, _, _ = strings.Cut(commands, "\nAn application that does all of this")
			out := output(t, t.Context(), t.TempDir(), nil, bash, "-euo", "pipefail", "-c", commands)
			for _, want := range []string{`"enable_dynamic_client_registration":true`, `"is_domain_connection":true`, `"client_secret_expires_at":0`} {
				if !strings.Contains(out, want) {
					t.Errorf("the commands did not print %s:\n%s", want, out)
				}
			}
			lines := strings.Split(strings.TrimSpace(out), "\n")
			resp, err := p.walk(t, transport(t, p.CAFile)).get(t.Context(), lines[len(lines)-1], "", nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("the address at the end does not lead to the login page: %v %v", resp, err)
			}
		})
	}
}

// The issuer is kept byte for byte, a trailing slash included.
func TestIssuerWithSlash(t *testing.T) {
	// The port has to be known before; the first process finds a free one.
	free := start(t, t.TempDir(), "-app-addr", "")
	addr := free.host()
	free.kill(t)
	for _, issuer := range []string{"http://" + addr + "/", "http://" + addr} {
		p := start(t, t.TempDir(), "-addr", addr, "-issuer", issuer, "-ready", "-app-addr", "")
		if p.Issuer != issuer {
			t.Errorf("issuer %s became %s", issuer, p.Issuer)
		}
		var metadata map[string]any
		get(t, p.walk(t, http.DefaultTransport), "/.well-known/openid-configuration", "", &metadata)
		if metadata["issuer"] != issuer {
			t.Errorf("the metadata of %s says %v", issuer, metadata["issuer"])
		}
		w := p.walk(t, http.DefaultTransport)
		w.Enabled, w.Promoted = true, true
		if err := w.run(t.Context(), http.DefaultTransport); err != nil || w.failures > 0 {
			t.Errorf("issuer %s: %v, %d of %d checks failed", issuer, err, w.failures, w.checks)
		}
		p.kill(t)
	}
}

// Whoever has the management client reaches every resource of the API.
func TestManagementClient(t *testing.T) {
	p := start(t, t.TempDir(), "-app-addr", "")
	w := p.walk(t, http.DefaultTransport)
	token, err := w.managementToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, resource := range []string{"tenants/settings", "connections", "keys/signing"} {
		var answer any
		get(t, w, "/api/v2/"+resource, token, &answer)
	}
}

// The state file says where everything is. Only its owner can read it and what
// holds secrets.
func TestStateFile(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "-tls", "-pprof", "127.0.0.1:0", "-user", "Grace@Example.com", "-password", "a password", "-mgmt-client-id", "machine", "-mgmt-client-secret", "a-secret")
	if p.User != "Grace@Example.com" || p.Password != "a password" || p.MgmtClientID != "machine" || p.MgmtClientSecret != "a-secret" || p.Audience != "appointments:api" {
		t.Errorf("state: %+v", p.state)
	}
	client := &http.Client{Transport: transport(t, p.CAFile)}
	for _, address := range []string{p.Issuer + "/.well-known/openid-configuration", p.AppURL, p.PprofURL + "/debug/pprof/"} {
		resp, err := client.Get(address)
		if err != nil {
			t.Error(err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", address, resp.Status)
		}
	}
	resp, err := client.Get(p.Issuer + "/debug/pprof/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("the provider serves the profiler: %s", resp.Status)
	}
	if info, err := os.Stat(p.stateFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the state file: %v, %v", info.Mode(), err)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", filepath.Base(path), info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestCommandLine(t *testing.T) {
	for name, args := range map[string][]string{
		"an unknown store":               {"-store", "paper"},
		"an unknown mode":                {"-mode", "lenient"},
		"an issuer that is no URL":       {"-issuer", "login.example.com"},
		"an argument":                    {"serve"},
		"a walk through a strict tenant": {"-walkthrough", "-mode", "strict"},
		"no user":                        {"-user", ""},
	} {
		if _, err := parseOptions(args, t.Output()); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	o, err := parseOptions(nil, t.Output())
	if err != nil || o.mode != "permissive" || o.store != "sqlite" || o.ready || o.walkthrough || o.tls {
		t.Errorf("defaults: %+v, %v", o, err)
	}
}

// What is printed works, after every start: a password on the command line that is
// not the one in the database is refused.
func TestPrintedPasswordsAreTheRealOnes(t *testing.T) {
	dir := t.TempDir()
	chosen := []string{"-user", "grace", "-password", "a password", "-mgmt-client-id", "machine", "-mgmt-client-secret", "a secret"}
	for _, args := range [][]string{nil, chosen, nil, chosen} {
		p := start(t, dir, append([]string{"-app-addr", ""}, args...)...)
		w := p.walk(t, http.DefaultTransport)
		w.Enabled = true
		if err := w.run(t.Context(), http.DefaultTransport); err != nil || w.failures > 0 {
			t.Errorf("with %q: %v, %d of %d checks failed", args, err, w.failures, w.checks)
		}
		p.kill(t)
	}
	for name, args := range map[string][]string{
		"another password":       {"-password", "another"},
		"another secret":         {"-mgmt-client-secret", "another"},
		"the default for chosen": {"-user", "grace"},
	} {
		cmd := command(t, append([]string{"-addr", "127.0.0.1:0", "-app-addr", "", "-db", filepath.Join(dir, "quickstart.db")}, args...)...)
		if out, err := cmd.Output(); err == nil || len(out) > 0 {
			t.Errorf("%s: %v, printed %s", name, err, out)
		}
	}
}

func TestSecretFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	first, err := openSecret(path)
	if err != nil || len(first) != secretSize {
		t.Fatalf("a new one: %d bytes, %v", len(first), err)
	}
	if again, err := openSecret(path); err != nil || !bytes.Equal(again, first) {
		t.Errorf("the secret changed, %v", err)
	}
	if other, err := openSecret(""); err != nil || bytes.Equal(other, first) {
		t.Errorf("without a file: %v", err)
	}
	for _, damaged := range []string{"", "\n", "not base64!", "c2hvcnQ="} {
		if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := openSecret(path); err == nil || s != nil {
			t.Errorf("the file %q is accepted: %d bytes", damaged, len(s))
		}
	}
}
