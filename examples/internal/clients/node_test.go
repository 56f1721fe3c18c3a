package clients

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/opkit/opkit/examples/internal/tool"
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
	tool.Need(t, "node")
	tool.Need(t, "npm")
	dir := t.TempDir()
	for _, from := range []string{"testdata", "testdata/npm"} {
		if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tool.InstallPackages(dir); err != nil {
		tool.NotRun(t, err.Error())
	}
	return dir
}
