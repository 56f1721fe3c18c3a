package authorize

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Bounds of the mail that is sent.
const (
	maxMails    = 1024 // waiting and under way
	maxSending  = 8    // under way
	mailTimeout = 30 * time.Second
)

// Kinds of mail.
const (
	// MailPasswordReset has a link to a page where the user sets a new password.
	MailPasswordReset = "password_reset"
	// MailEmailVerification has a link to a page where the user confirms that the
	// address is theirs.
	MailEmailVerification = "email_verification"
	// MailSignUp has a link to a page where whoever reads the mail makes an account.
	MailSignUp = "sign_up"
	// MailAccountExists is for who tried to sign up with the address of an account. Its
	// link leads to a page where the user sets a new password; it is empty if the user
	// cannot.
	MailAccountExists = "account_exists"
)

// Mail is a message for a user. Its text is up to the [Mailer].
type Mail struct {
	TenantID string
	// Kind is MailPasswordReset, MailEmailVerification, MailSignUp or MailAccountExists.
	Kind string
	To   string
	// Link is good once, until ExpiresAt. Whoever has it can do what Kind says.
	Link      string
	ExpiresAt time.Time
	// TenantName is what the tenant calls itself, UserName what is known of the user's
	// name, which the user may have chosen, and may be empty.
	TenantName, UserName string
	// UserID is empty if nobody has an account yet.
	UserID, ConnectionID string
	// ClientID is the application that the user came from, empty if none.
	ClientID string
}

// Mailer sends a mail. It is called apart from the request that wants it, for half a
// minute at most, so that the time of an answer says nothing about who has an account.
// An error, or a panic, is logged, and the mail is not sent again: the user can ask anew.
type Mailer func(ctx context.Context, m Mail) error

// courier does what nobody waits for, in the order that it comes: a few at a time, and
// no more than a bound. Workers start when there is something to do and end when there
// is not, so that nothing has to be running beforehand. What waits when the process
// ends is lost.
type courier struct {
	logger *slog.Logger

	mu      sync.Mutex
	queue   []func(context.Context) error
	pending int
	workers int
}

// accept queues a task. It says false, and logs, if too many are waiting.
func (c *courier) accept(ctx context.Context, task func(context.Context) error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending >= maxMails {
		c.logger.WarnContext(ctx, "a mail was dropped, too many are waiting")
		return false
	}
	c.pending++
	c.queue = append(c.queue, task)
	if c.workers < maxSending {
		c.workers++
		go c.work()
	}
	return true
}

// work goes on until the queue is empty.
func (c *courier) work() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 {
			c.queue = nil
			c.workers--
			c.mu.Unlock()
			return
		}
		task := c.queue[0]
		c.queue = c.queue[1:]
		c.mu.Unlock()
		c.run(task)
	}
}

func (c *courier) run(task func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), mailTimeout)
	defer cancel()
	defer func() {
		c.mu.Lock()
		c.pending--
		c.mu.Unlock()
	}()
	if err := sheltered(func() error { return task(ctx) }); err != nil {
		c.logger.ErrorContext(ctx, "a mail was not sent", "err", err)
	}
}

// sheltered does something that code of the host has a part in, outside of any request,
// and returns a panic as an error: there is no server above that would recover.
func sheltered(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return do()
}
