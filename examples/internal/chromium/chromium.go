package chromium

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/opkit/opkit/examples/internal/tool"
)

// Start starts a browser with a profile of its own and a window of that size,
// which ends with the test. It keeps cookies from pages that another site embeds, as
// browsers do by now. On a machine without the browser the test is not run,
// see [tool.NotRun].
func Start(t *testing.T, width, height int) context.Context {
	t.Helper()
	return start(t, t.TempDir(), width, height)
}

// StartWithThirdPartyCookies is [Start] for a browser that gives embedded pages
// their cookies, as some users set theirs.
func StartWithThirdPartyCookies(t *testing.T, width, height int) context.Context {
	t.Helper()
	profile := t.TempDir()
	err := os.Mkdir(filepath.Join(profile, "Default"), 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(profile, "Default", "Preferences"), []byte(`{"profile":{"cookie_controls_mode":0,"block_third_party_cookies":false}}`), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return start(t, profile, width, height)
}

// StartResolving is [Start] for a browser that finds hosts where rules say, such as
// "MAP cdn.example.com:443 127.0.0.1:8443".
func StartResolving(t *testing.T, width, height int, rules string) context.Context {
	t.Helper()
	return start(t, t.TempDir(), width, height, chromedp.Flag("host-resolver-rules", rules))
}

func start(t *testing.T, profile string, width, height int, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(tool.Need(t, "chromium", "chromium-browser", "google-chrome")),
		chromedp.UserDataDir(profile),
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
		// The certificates of the examples are known to nobody.
		chromedp.Flag("ignore-certificate-errors", true),
	}
	ctx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), append(options, more...)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf))
	t.Cleanup(cancel)
	// The first call starts the browser, which lives as long as its context.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(int64(width), int64(height))); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// Tab opens another tab of the browser, with its cookies.
func Tab(t *testing.T, browser context.Context) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // which opens it, for as long as its context
		t.Fatal(err)
	}
	return ctx
}

// Do runs an action, for a minute at most, and returns its value.
func Do[T any](t *testing.T, ctx context.Context, action chromedp.Action[T]) T {
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

// Click clicks and waits for the page that follows.
func Click(t *testing.T, ctx context.Context, selector string) {
	t.Helper()
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := chromedp.RunResponse(limited, chromedp.Click(chromedp.CSS(selector))); err != nil {
		t.Fatalf("clicking %s: %v", selector, err)
	}
}
