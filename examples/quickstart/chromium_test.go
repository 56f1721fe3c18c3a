package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/opkit/opkit/examples/internal/chromium"
)

func newChromium(t *testing.T, width, height int) context.Context {
	t.Helper()
	return chromium.Start(t, width, height)
}

func do[T any](t *testing.T, ctx context.Context, action chromedp.Action[T]) T {
	t.Helper()
	return chromium.Do(t, ctx, action)
}

var installed struct {
	sync.Once
	err error
	out []byte
}

// nodeModules returns a node_modules directory with what the page's JavaScript uses, in
// the versions that testdata/npm locks.
func nodeModules(t *testing.T) string {
	t.Helper()
	npm := need(t, "npm")
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	installed.Do(func() {
		dir := filepath.Join(binary.dir, "npm")
		if installed.err = os.CopyFS(dir, os.DirFS("testdata/npm")); installed.err != nil {
			return
		}
		cmd := exec.Command(npm, "ci", "--prefix", dir, "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
		cmd.Env = append(os.Environ(), "NPM_CONFIG_UPDATE_NOTIFIER=false")
		installed.out, installed.err = cmd.CombinedOutput()
	})
	if installed.err != nil {
		t.Logf("%s", installed.out)
		notRun(t, "the packages of testdata/npm could not be installed: "+installed.err.Error())
	}
	return filepath.Join(binary.dir, "npm", "node_modules")
}
