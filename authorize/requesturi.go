package authorize

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"mime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// This file implements request objects passed by reference: RFC 9101 §5.2 and
// OpenID Connect Core §6.2. Only what a client registered in request_uris is
// fetched, so that a link cannot make this server ask elsewhere.

const (
	// failedObject is for how long an address is left alone after a failure.
	failedObject = 5 * time.Second
	// maxFetches bounds how many objects are fetched at once, maxFailures how many
	// failures are remembered.
	maxFetches  = 64
	maxFailures = 1024
)

// objectTypes are the media types of a request object (RFC 9101 §10.8, and what it
// was before).
var objectTypes = []string{"application/oauth-authz-req+jwt", "application/jwt"}

// objectByReference returns the request object at the address that a request names.
func (a *Authorizer) objectByReference(ctx context.Context, client *store.Client, uri string) (string, error) {
	// The whole URI counts. Its fragment may be a hash of the content, which lets
	// servers keep a copy (OpenID Connect Core §6.2); none is kept here, so that it
	// has nothing to say.
	if !slices.Contains(client.Extra().RequestURIs, uri) {
		return "", oauth.Errorf(oauth.CodeInvalidRequestURI, "request_uri is not one that the application registered in request_uris; it has to be equal character by character")
	}
	address, _, _ := strings.Cut(uri, "#")
	object, err := a.objects.fetch(ctx, objectAddress{client.TenantID, client.ID, address})
	if err != nil && !errors.Is(err, errObject) {
		return "", err
	}
	if err != nil {
		// Which of the reasons it was tells about the network that this server is in.
		a.cfg.Logger.WarnContext(ctx, "a request object could not be fetched", "tenant", client.TenantID, "client_id", client.ID, "request_uri", uri, "err", err)
		return "", oauth.WithCause(err, oauth.CodeInvalidRequestURI, "the request object at request_uri could not be fetched, or is not application/oauth-authz-req+jwt of at most 16 KiB")
	}
	return object, nil
}

// errObject says that there is no request object at an address.
var errObject = errors.New("authorize: no request object")

// objectAddress is where a client keeps a request object.
type objectAddress struct{ tenant, client, uri string }

// objectFetcher fetches request objects. Anybody can send a browser with the same
// request again and again; of one address only one fetch runs at a time, for all
// who ask meanwhile, and a failure is remembered for a moment.
type objectFetcher struct {
	outbound *httpx.Outbound
	now      func() time.Time

	mu      sync.Mutex
	running map[objectAddress]*objectFetch
	failed  map[objectAddress]objectFailure
}

type objectFetch struct {
	done   chan struct{}
	object string
	err    error
}

type objectFailure struct {
	at  time.Time
	err error
}

// fetch returns the object. The error wraps errObject, is that of ctx, or an oauth
// error temporarily_unavailable.
func (f *objectFetcher) fetch(ctx context.Context, at objectAddress) (string, error) {
	now := f.now()
	f.mu.Lock()
	if failure, ok := f.failed[at]; ok {
		if since := now.Sub(failure.at); 0 <= since && since < failedObject {
			f.mu.Unlock()
			return "", failure.err
		}
	}
	running := f.running[at]
	leads := running == nil
	if leads {
		if len(f.running) >= maxFetches {
			f.mu.Unlock()
			return "", oauth.Unavailable(errors.New("authorize: too many request objects are being fetched"), time.Second)
		}
		running = &objectFetch{done: make(chan struct{}), err: errObject}
		f.running[at] = running
	}
	f.mu.Unlock()
	if leads {
		f.lead(ctx, at, running)
	}
	select {
	case <-running.done:
		return running.object, running.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// lead fetches for all who wait: the browser that happened to come first may leave,
// the others must not suffer from that.
func (f *objectFetcher) lead(ctx context.Context, at objectAddress, running *objectFetch) {
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.running, at)
		if running.err != nil {
			f.remember(at, objectFailure{f.now(), running.err})
		} else {
			delete(f.failed, at)
		}
		close(running.done)
	}()
	document, err := f.outbound.Fetch(context.WithoutCancel(ctx), at.uri, strings.Join(objectTypes, ", "))
	if err == nil {
		running.object, err = readDocument(document)
	}
	if running.err = err; err != nil {
		running.err = fmt.Errorf("%w: %w", errObject, err)
	}
}

// remember keeps a failure. f.mu is held.
func (f *objectFetcher) remember(at objectAddress, failure objectFailure) {
	if len(f.failed) >= maxFailures {
		maps.DeleteFunc(f.failed, func(_ objectAddress, old objectFailure) bool { return failure.at.Sub(old.at) >= failedObject })
	}
	if len(f.failed) < maxFailures {
		f.failed[at] = failure
	}
}

// readDocument returns the request object in a document.
func readDocument(document httpx.Fetched) (string, error) {
	mediaType, _, err := mime.ParseMediaType(document.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(objectTypes, mediaType) {
		return "", fmt.Errorf("the content type is %q", document.Header.Get("Content-Type"))
	}
	object := strings.TrimSpace(string(document.Body)) // files end with a line break
	if len(object) > maxRequestObject {
		return "", fmt.Errorf("it has %d bytes", len(object))
	}
	return object, nil
}

func newObjectFetcher(outbound *httpx.Outbound, now func() time.Time) *objectFetcher {
	return &objectFetcher{outbound: outbound, now: now, running: map[objectAddress]*objectFetch{}, failed: map[objectAddress]objectFailure{}}
}
