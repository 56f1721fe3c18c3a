package tool

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// NotRun ends a test that cannot run here.
func NotRun(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal("NOT RUN: " + why)
	}
	t.Skip("NOT RUN: " + why)
}

// Need returns the path of the first of names that is installed. Without any the test is
// not run.
func Need(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	NotRun(t, strings.Join(names, " or ")+" is not installed")
	return ""
}

// InstallPackages installs the npm packages that the lock in dir names, into dir. None of
// their scripts is run.
func InstallPackages(dir string) error {
	cmd := exec.Command("npm", "ci", "--prefix", dir, "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
	cmd.Env = append(os.Environ(), "NPM_CONFIG_UPDATE_NOTIFIER=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("the npm packages could not be installed: %w: %s", err, out)
	}
	return nil
}
