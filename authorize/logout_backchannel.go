package authorize

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file implements OpenID Connect Back-Channel Logout 1.0.

// Bounds of delivery. Three attempts of five seconds each and the pauses between
// them take 20 seconds.
const (
	maxNotifications = 1024 // waiting and under way
	maxDeliveries    = 16   // under way
	deliveryTimeout  = 5 * time.Second
)

// deliveryPauses are the pauses before the second and the third attempt.
var deliveryPauses = []time.Duration{time.Second, 4 * time.Second}

// notifier tells clients that a session has ended. It never holds up the user: a
// notification waits in a bounded queue for a worker. Workers start when there is
// something to do and end when there is not, so that nothing has to be running
// beforehand, and a pause between attempts occupies none. What waits when the
// process ends is lost, as is what does not fit into the queue; the log tells.
type notifier struct {
	tokens   logoutTokens
	outbound *httpx.Outbound
	logger   *slog.Logger
	pauses   []time.Duration

	mu      sync.Mutex
	queue   []*notification
	pending int // queued, paused or under way
	workers int
}

// logoutTokens mints logout tokens.
type logoutTokens interface {
	LogoutToken(ctx context.Context, t *tenant.Tenant, client *store.Client, session *store.Session) (string, error)
}

// notification is one client to be told.
type notification struct {
	tenant  *tenant.Tenant
	client  store.Client
	session store.Session
	token   string // from the first attempt on: retries repeat it, jti included
	attempt int
}

func newNotifier(tokens logoutTokens, outbound *httpx.Outbound, logger *slog.Logger) *notifier {
	return &notifier{tokens: tokens, outbound: outbound, logger: logger, pauses: deliveryPauses}
}

// sessionEnded queues a notification for each client that registered for it.
func (n *notifier) sessionEnded(ctx context.Context, t *tenant.Tenant, session *store.Session, clients []store.Client) {
	for i := range clients {
		if clients[i].Extra().BackchannelLogoutURI == "" {
			continue
		}
		if !n.accept(&notification{tenant: t, client: clients[i], session: *session}) {
			n.logger.WarnContext(ctx, "a logout notification was dropped, too many are waiting", "tenant", t.ID(), "client_id", clients[i].ID)
		}
	}
}

func (n *notifier) accept(m *notification) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pending >= maxNotifications {
		return false
	}
	n.pending++
	n.push(m)
	return true
}

// push queues m and makes sure that a worker comes. n.mu is held.
func (n *notifier) push(m *notification) {
	n.queue = append(n.queue, m)
	if n.workers < maxDeliveries {
		n.workers++
		go n.work()
	}
}

// work delivers until the queue is empty.
func (n *notifier) work() {
	for {
		n.mu.Lock()
		if len(n.queue) == 0 {
			n.queue = nil
			n.workers--
			n.mu.Unlock()
			return
		}
		m := n.queue[0]
		n.queue = n.queue[1:]
		n.mu.Unlock()
		n.deliver(m)
	}
}

// deliver makes one attempt and, if another may help, plans it.
func (n *notifier) deliver(m *notification) {
	ctx, cancel := context.WithTimeout(context.Background(), deliveryTimeout)
	defer cancel()
	err := sheltered(func() error { return n.send(ctx, m) }) // a KMS signs
	if err != nil && retryable(err) && m.attempt < len(n.pauses) {
		pause := n.pauses[m.attempt]
		m.attempt++
		time.AfterFunc(pause, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.push(m)
		})
		return
	}
	n.mu.Lock()
	n.pending--
	n.mu.Unlock()
	if err != nil {
		n.logger.WarnContext(ctx, "a client could not be told that a session has ended",
			"tenant", m.tenant.ID(), "client_id", m.client.ID, "attempts", m.attempt+1, "err", err)
	}
}

// send posts the logout token (§2.5).
func (n *notifier) send(ctx context.Context, m *notification) error {
	if m.token == "" {
		var err error
		if m.token, err = n.tokens.LogoutToken(ctx, m.tenant, &m.client, &m.session); err != nil {
			return err
		}
	}
	return n.outbound.Post(ctx, m.client.Extra().BackchannelLogoutURI, url.Values{"logout_token": {m.token}})
}

// retryable reports whether another attempt may end otherwise. A client that
// refuses the token (§2.8) will refuse it again, and a redirect is no answer.
func retryable(err error) bool {
	if errors.Is(err, httpx.ErrForbiddenURL) || errors.Is(err, httpx.ErrForbiddenAddress) || errors.Is(err, httpx.ErrTooLarge) {
		return false
	}
	status, ok := errors.AsType[*httpx.StatusError](err)
	return !ok || status.Status >= 500 || status.Status == http.StatusTooManyRequests || status.Status == http.StatusRequestTimeout
}
