package connection

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

func TestBackOff(t *testing.T) {
	now := newClock().now
	var f failures
	var locks []time.Duration
	for i := range 25 {
		after, err := f.attempt(now)
		if err != nil {
			t.Fatalf("attempt %d: %v", i+1, err)
		}
		f = after
		lock := time.Duration(0)
		if !f.Until.IsZero() {
			lock = f.Until.Sub(now)
		}
		locks = append(locks, lock)
		if lock > 0 {
			if _, err := f.attempt(f.Until.Add(-time.Microsecond)); !errors.Is(err, ErrLocked) {
				t.Errorf("attempt %d: not locked until %s", i+1, f.Until)
			}
			now = f.Until // from then on it is open for one attempt
		}
	}
	for i, lock := range locks {
		want := time.Duration(0)
		if i >= maxFailures-1 {
			want = min(time.Second<<(i-maxFailures+1), 15*time.Minute)
		}
		if lock != want {
			t.Errorf("failure %d locks for %s, want %s", i+1, lock, want)
		}
	}
}

// counters are the two ways to count attempts, which must not differ to whoever
// makes them.
func counters(w *world) map[string]func(login string) error {
	return map[string]func(string) error{
		"user": func(login string) error {
			return w.countAttempt(context.Background(), tenant.DefaultID, attemptID(&w.conn, login))
		},
		"stranger": func(login string) error { return w.strangers.countAttempt(attemptID(&w.conn, login), w.clock.now) },
	}
}

func TestStrangersAreLockedLikeUsers(t *testing.T) {
	// A day of guesses: what each attempt gets has to be the same.
	script := []time.Duration{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 500 * time.Millisecond, 500 * time.Millisecond, 0, time.Second, time.Second, 0,
		time.Hour, 0, time.Minute, memory - time.Microsecond, 0, memory, 0, 0}
	answers := map[string][]string{}
	for name := range counters(newWorld(t, nil)) {
		w := newWorld(t, nil)
		count := counters(w)[name]
		for _, pause := range script {
			w.clock.advance(pause)
			answers[name] = append(answers[name], fmt.Sprint(count("login")))
		}
	}
	locked := 0
	for i, user := range answers["user"] {
		if stranger := answers["stranger"][i]; stranger != user {
			t.Errorf("attempt %d: user %s, stranger %s", i+1, user, stranger)
		}
		if user != "<nil>" {
			locked++
		}
	}
	if locked == 0 || locked == len(script) {
		t.Errorf("%d of %d attempts were locked: the script proves nothing", locked, len(script))
	}
}

func TestConcurrentAttemptsDoNotOutrunTheCount(t *testing.T) {
	for name := range counters(newWorld(t, nil)) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			count := counters(w)[name]
			for round := range 100 {
				login := fmt.Sprint("login", round)
				var allowed atomic.Int32
				var group sync.WaitGroup
				start := make(chan struct{})
				for range 8 {
					group.Go(func() {
						<-start
						for range 4 {
							switch err := count(login); {
							case err == nil:
								allowed.Add(1)
							case !errors.Is(err, ErrLocked):
								t.Error(err)
							}
						}
					})
				}
				close(start)
				group.Wait()
				if n := allowed.Load(); n != maxFailures {
					t.Fatalf("round %d: %d of 32 attempts were allowed", round, n)
				}
			}
		})
	}
}

func TestConcurrentGuessesOnTwoNodesDoNotOutrunTheCount(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.PasswordConcurrency, c.PasswordQueue = 8, 1000 })
	nodes := []*Directory{w.Directory, w.node(func(c *Config) { c.PasswordConcurrency, c.PasswordQueue = 8, 1000 })}
	var answered, locked atomic.Int32
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 8 {
				_, err := nodes[i%2].Authenticate(context.Background(), w.tenant, &w.conn, "ada", "a guess")
				switch {
				case errors.Is(err, ErrInvalidCredentials):
					answered.Add(1)
				case errors.Is(err, ErrLocked):
					locked.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if answered.Load() != maxFailures || locked.Load() != 64-maxFailures {
		t.Errorf("%d guesses were answered, %d locked out", answered.Load(), locked.Load())
	}
	if _, err := w.login("ada", password); !errors.Is(err, ErrLocked) {
		t.Errorf("the right password while it is locked: %v", err)
	}
	w.clock.advance(time.Second)
	if _, err := w.login("ada", password); err != nil {
		t.Errorf("the right password after the lock: %v", err)
	}
}

func TestSuccessResetsTheCount(t *testing.T) {
	w := newWorld(t, nil)
	for range 3 {
		for range maxFailures - 1 {
			if _, err := w.login("ada", "a guess"); !errors.Is(err, ErrInvalidCredentials) {
				t.Fatal(err)
			}
		}
		if _, err := w.login("ada", password); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEachLoginIsCountedByItself(t *testing.T) {
	w := newWorld(t, nil)
	for range maxFailures {
		w.login("ada@example.com", "a guess")
	}
	if _, err := w.login("ADA@example.com ", password); !errors.Is(err, ErrLocked) {
		t.Errorf("the same login in another spelling: %v", err)
	}
	// Otherwise locking an email address would tell whose username it belongs to.
	if _, err := w.login("ada", password); err != nil {
		t.Errorf("the username: %v", err)
	}
}

func TestAttemptsAreCountedPerConnectionAndTenant(t *testing.T) {
	ids := map[store.Digest]string{}
	for _, conn := range []store.Connection{{TenantID: "a", ID: "b"}, {TenantID: "a", ID: "c"}, {TenantID: "b", ID: "b"}, {TenantID: "ab", ID: ""}} {
		for _, login := range []string{"x", "y", "bx"} {
			id, what := attemptID(&conn, login), fmt.Sprintf("%q %q %q", conn.TenantID, conn.ID, login)
			if other, taken := ids[id]; taken {
				t.Errorf("%s is counted as %s", what, other)
			}
			ids[id] = what
		}
	}
}

func TestBruteForceProtectionCanBeSwitchedOff(t *testing.T) {
	w := newWorld(t, nil)
	w.change(func(c *store.Connection) { c.Options = []byte(`{"brute_force_protection":false}`) })
	for _, login := range []string{"ada", "nobody"} {
		for range 2 * maxFailures {
			if _, err := w.login(login, "a guess"); !errors.Is(err, ErrInvalidCredentials) {
				t.Fatal(err)
			}
		}
	}
	// A member that only looks like it does not count.
	w.change(func(c *store.Connection) { c.Options = []byte(`{"Brute_Force_Protection":false}`) })
	for range maxFailures {
		w.login("ada", "a guess")
	}
	if _, err := w.login("ada", "a guess"); !errors.Is(err, ErrLocked) {
		t.Errorf("error %v", err)
	}
}

func TestStrangersAreForgottenOldestFirst(t *testing.T) {
	s := newStrangers(3)
	now := newClock().now
	id := func(n int) store.Digest { return store.DigestOf(fmt.Sprint(n)) }
	for n := range 3 {
		for range maxFailures {
			if err := s.countAttempt(id(n), now); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.countAttempt(id(0), now) // locked, but recent
	if err := s.countAttempt(id(3), now); err != nil {
		t.Fatal(err)
	}
	if len(s.known) != 3 || s.order.Len() != 3 {
		t.Errorf("%d are known, %d in order", len(s.known), s.order.Len())
	}
	for n, locked := range map[int]bool{0: true, 2: true} {
		if err := s.countAttempt(id(n), now); errors.Is(err, ErrLocked) != locked {
			t.Errorf("login %d: %v", n, err)
		}
	}
	if err := s.countAttempt(id(1), now); err != nil {
		t.Errorf("the oldest is still known: %v", err)
	}
}
