package main

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/opkit/opkit/examples/internal/chromium"
	"github.com/opkit/opkit/examples/internal/tool"
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
}

// nodeModules returns a node_modules directory with what the page's JavaScript uses, in
// the versions that testdata/npm locks.
func nodeModules(t *testing.T) string {
	t.Helper()
	tool.Need(t, "npm")
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	installed.Do(func() {
		dir := filepath.Join(binary.dir, "npm")
		if installed.err = os.CopyFS(dir, os.DirFS("testdata/npm")); installed.err != nil {
			return
		}
		installed.err = tool.InstallPackages(dir)
	})
	if installed.err != nil {
		tool.NotRun(t, installed.err.Error())
	}
	return filepath.Join(binary.dir, "npm", "node_modules")
}
