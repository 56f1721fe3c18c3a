package main

import (
	"context"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit/examples/internal/tool"
)

var modules struct {
	sync.Once
	dir string
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if modules.dir != "" {
		os.RemoveAll(modules.dir)
	}
	os.Exit(code)
}

// install fetches the packages that testdata/npm locks.
func install(t *testing.T) {
	t.Helper()
	tool.Need(t, "node")
	tool.Need(t, "npm")
	modules.Do(func() {
		if modules.dir, modules.err = os.MkdirTemp("", "opkit-management-"); modules.err != nil {
			return
		}
		for _, dir := range []string{"testdata/npm", "testdata"} {
			files, err := filepath.Glob(filepath.Join(dir, "*.*"))
			if err != nil || len(files) == 0 {
				modules.err = err
				return
			}
			for _, file := range files {
				data, err := os.ReadFile(file)
				if err == nil {
					err = os.WriteFile(filepath.Join(modules.dir, filepath.Base(file)), data, 0o600)
				}
				if err != nil {
					modules.err = err
					return
				}
			}
		}
		modules.err = tool.InstallPackages(modules.dir)
	})
	if modules.err != nil {
		tool.NotRun(t, modules.err.Error())
	}
}

// The SDKs for Node.js do what a script of theirs asks, assertions and all.
func TestNodeSDKs(t *testing.T) {
	for _, script := range []string{"auth0-7.mjs", "auth0-4.mjs", "openapi.mjs"} {
		t.Run(script, func(t *testing.T) {
			onBoth(t, func(t *testing.T, s *site) {
				install(t)
				const seeded = "auth0|seeded"
				s.signIn(t, seeded, machineID)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				scheme := "http"
				cmd := exec.CommandContext(ctx, "node")
				cmd.Env = os.Environ()
				if certificate := s.server.Certificate(); certificate != nil {
					scheme = "https"
					file := filepath.Join(t.TempDir(), "ca.pem")
					if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}), 0o600); err != nil {
						t.Fatal(err)
					}
					cmd.Env = append(cmd.Env, "NODE_EXTRA_CA_CERTS="+file)
				}
				cmd.Args = append(cmd.Args, filepath.Join(modules.dir, script), scheme, s.domain(), machineID, s.secret, database, seeded)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		})
	}
}
