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

// nodeModules returns a node_modules directory with what the page's JavaScript
// uses.
func nodeModules(t *testing.T) string {
	t.Helper()
	npm := need(t, "npm")
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	installed.Do(func() {
		cmd := exec.Command(npm, "install", "--prefix", binary.dir, "--no-save", "--no-audit", "--no-fund", "--no-package-lock",
			"--ignore-scripts", "--loglevel=error", "request@2.88.2", "jquery@3.7.1")
		cmd.Env = append(os.Environ(), "NPM_CONFIG_UPDATE_NOTIFIER=false")
		installed.out, installed.err = cmd.CombinedOutput()
	})
	if installed.err != nil {
		t.Logf("%s", installed.out)
		notRun(t, "the npm packages request and jquery could not be installed: "+installed.err.Error())
	}
	return filepath.Join(binary.dir, "node_modules")
}
