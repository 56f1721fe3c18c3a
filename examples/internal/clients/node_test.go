package clients

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Each script asserts what its library makes of a provider whose address is its
// argument.
func TestNodeClients(t *testing.T) {
	dir := install(t)
	scripts, err := filepath.Glob("testdata/*.mjs")
	if err != nil || len(scripts) < 2 {
		t.Fatal(scripts, err)
	}
	for _, script := range scripts {
		name := filepath.Base(script)
		if name == "agent.mjs" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			onEach(t, []string{"/", "/tenants/acme"}, func(t *testing.T, issuer string) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, name), issuer)
				cmd.Env = append(os.Environ(), "USERNAME_OF_USER="+user, "PASSWORD_OF_USER="+password, "AUDIENCE="+audience)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		})
	}
}

// install puts the scripts beside the packages that testdata/npm locks.
func install(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			notRun(t, tool+" is missing")
		}
	}
	dir := t.TempDir()
	for _, from := range []string{"testdata", "testdata/npm"} {
		if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("npm", "ci", "--prefix", dir, "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
	cmd.Env = append(os.Environ(), "NPM_CONFIG_UPDATE_NOTIFIER=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Logf("%s", out)
		notRun(t, "the packages of testdata/npm could not be installed: "+err.Error())
	}
	return dir
}
