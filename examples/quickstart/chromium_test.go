package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// newChromium starts a browser with a profile of its own and a window of that
// size.
func newChromium(t *testing.T, width, height int) context.Context {
	t.Helper()
	path := need(t, "chromium", "chromium-browser", "google-chrome")
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WindowSize(width, height),
		chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck,
		chromedp.Headless,
		chromedp.DisableGPU,
		chromedp.NoSandbox, // it refuses to run as root otherwise
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		// The quickstart's certificate is known to nobody.
		chromedp.Flag("ignore-certificate-errors", true),
	}
	ctx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf))
	t.Cleanup(cancel)
	// The first call starts the browser, which lives as long as its context.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(int64(width), int64(height))); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// do runs an action, for a minute at most, and returns its value.
func do[T any](t *testing.T, ctx context.Context, action chromedp.Action[T]) T {
	t.Helper()
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	value, err := chromedp.Run(limited, action)
	if err != nil {
		dump, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		html, _ := chromedp.Run(dump, chromedp.OuterHTML(chromedp.CSS("html"))) // for the log only
		t.Fatalf("%v\n%s", err, html)
	}
	return value
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
