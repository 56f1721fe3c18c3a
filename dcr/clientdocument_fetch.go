package dcr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/internal/ratelimit"
)

const (
	// For how long a document is used without asking again: as its headers say, within
	// bounds.
	documentFresh    = 10 * time.Minute
	minDocumentFresh = time.Minute
	maxDocumentFresh = 24 * time.Hour

	// documentCooldown is for how long a URL that gave no usable document is not asked
	// again.
	documentCooldown = 10 * time.Second

	// documentAdvice is the size that §8.7 recommends not to exceed. What is accepted
	// is what every fetch is: 64 KiB.
	documentAdvice = 5 << 10

	// maxDocumentFetches bounds how many documents are fetched at once for strangers,
	// and how many for clients that users have allowed something.
	maxDocumentFetches = 64
)

// How often strangers may make the provider fetch documents that it does not have:
// those of one network at one tenant, and at one host in all.
const (
	fetchesPerSecond     = 1
	fetchBurst           = 30
	hostFetchesPerSecond = 5
	hostFetchBurst       = 50
)

// errUnreachable says that a document could not be fetched for a reason that does
// not come from its owner.
var errUnreachable = errors.New("dcr: the host of the document does not answer")

// documentFetcher fetches documents for requests that name them.
type documentFetcher struct {
	outbound fetcher
	now      func() time.Time
	logger   *slog.Logger

	networks, hosts *ratelimit.Local
	// strangers and known are separate: whoever fills the one does not delay the other.
	strangers, known chan struct{}
}

func newDocumentFetcher(outbound fetcher, now func() time.Time, logger *slog.Logger) *documentFetcher {
	return &documentFetcher{
		outbound: outbound, now: now, logger: logger,
		networks:  ratelimit.NewLocal(ratelimit.Rate{PerSecond: fetchesPerSecond, Burst: fetchBurst}),
		hosts:     ratelimit.NewLocal(ratelimit.Rate{PerSecond: hostFetchesPerSecond, Burst: hostFetchBurst}),
		strangers: make(chan struct{}, maxDocumentFetches), known: make(chan struct{}, maxDocumentFetches),
	}
}

// admit decides whether a document may be fetched, and takes the place that release
// gives back. known says that it was good before: then it is fetched as often as its
// freshness demands, and nobody can use that up.
func (f *documentFetcher) admit(ctx context.Context, key documentKey, known bool) (release func(), err error) {
	slots := f.strangers
	if known {
		slots = f.known
	} else if wait := f.limit(ctx, key); wait > 0 {
		return nil, &oauth.Error{
			Code: oauth.CodeTemporarilyUnavailable, Status: http.StatusTooManyRequests, RetryAfter: wait,
			Description: "too many client ID metadata documents were asked for from this network or at this host, try again later",
		}
	}
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	default:
		return nil, oauth.Unavailable(nil, time.Second)
	}
}

// limit returns how long to wait; zero if the document may be fetched.
func (f *documentFetcher) limit(ctx context.Context, key documentKey) time.Duration {
	now := f.now()
	// As everywhere, an address on this machine is a proxy or a test.
	if addr := httpx.Requester(ctx); !local(addr) {
		if wait := f.networks.Admit(ratelimit.Key{Tenant: key.tenant, Network: ratelimit.Network(addr)}, now); wait > 0 {
			return wait
		}
	}
	return f.hosts.Admit(ratelimit.Key{Host: hostOfDocument(key.url)}, now)
}

// fetch returns the document. An error that wraps errUnreachable is not the owner's
// word.
func (f *documentFetcher) fetch(ctx context.Context, key documentKey) (httpx.Fetched, error) {
	fetched, err := f.outbound.Fetch(ctx, key.url, "application/json")
	if err != nil {
		f.logger.InfoContext(ctx, "a client ID metadata document could not be fetched", "tenant", key.tenant, "client_id", key.url, "err", err)
		// Not why: a stranger would learn what the provider can reach.
		return httpx.Fetched{}, unusable(unreachable(err), "the client ID metadata document at the application's client_id cannot be fetched")
	}
	if !isJSON(fetched.Header.Get("Content-Type")) {
		return httpx.Fetched{}, unusable(nil, "the client ID metadata document at the application's client_id does not have the content type application/json")
	}
	if len(fetched.Body) > documentAdvice {
		f.logger.InfoContext(ctx, "a client ID metadata document is larger than 5 KB", "tenant", key.tenant, "client_id", key.url, "bytes", len(fetched.Body))
	}
	return fetched, nil
}

// unreachable wraps errUnreachable around errors that do not come from the owner of
// the document. A status of the class 5xx may, and one that says to come later does:
// neither says that the document is gone. That a name leads to where nobody may be
// asked does.
func unreachable(err error) error {
	if status, ok := errors.AsType[*httpx.StatusError](err); ok {
		if status.Status < 500 && status.Status != http.StatusTooManyRequests {
			return err
		}
	} else if errors.Is(err, httpx.ErrForbiddenURL) || errors.Is(err, httpx.ErrForbiddenAddress) || errors.Is(err, httpx.ErrTooLarge) {
		return err
	}
	return fmt.Errorf("%w: %w", errUnreachable, err)
}

// isJSON reports whether a content type is one of §4: application/json, or a more
// specific one of the form application/...+json.
func isJSON(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	subtype, ok := strings.CutPrefix(mediaType, "application/")
	return err == nil && ok && (subtype == "json" || strings.HasSuffix(subtype, "+json"))
}
