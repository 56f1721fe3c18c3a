package connection

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestChecksRunBoundedAtOnce(t *testing.T) {
	p := newPasswords(Config{Argon2id: cheap, PasswordConcurrency: 3, PasswordQueue: 1000})
	var running, highest atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				leave, err := p.enter(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				n := running.Add(1)
				for old := highest.Load(); n > old && !highest.CompareAndSwap(old, n); old = highest.Load() {
				}
				p.check(context.Background(), "", password)
				running.Add(-1)
				leave()
			}
		})
	}
	group.Wait()
	if n := highest.Load(); n > 3 {
		t.Errorf("%d checks ran at once", n)
	}
	if len(p.running) != 0 || len(p.waiting) != 0 {
		t.Errorf("%d running and %d waiting are left over", len(p.running), len(p.waiting))
	}
}

func TestQueueIsBounded(t *testing.T) {
	p := newPasswords(Config{Argon2id: cheap, PasswordConcurrency: 1, PasswordQueue: 1})
	leave, err := p.enter(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	p.waiting <- struct{}{} // somebody waits
	if _, err := p.enter(context.Background()); !errors.Is(err, ErrBusy) {
		t.Errorf("a further one: %v", err)
	}
	<-p.waiting
	entered := make(chan error)
	go func() {
		leave, err := p.enter(context.Background())
		if err == nil {
			leave()
		}
		entered <- err
	}()
	leave()
	if err := <-entered; err != nil {
		t.Errorf("the one that waited: %v", err)
	}
}

func TestWaitingHonoursTheContext(t *testing.T) {
	p := newPasswords(Config{Argon2id: cheap, PasswordConcurrency: 1, PasswordQueue: 1})
	leave, err := p.enter(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	ctx, cancel := context.WithCancel(context.Background())
	entered := make(chan error)
	go func() {
		_, err := p.enter(ctx)
		entered <- err
	}()
	cancel()
	if err := <-entered; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if len(p.waiting) != 0 {
		t.Error("it still waits")
	}
}

func TestEndedContextDoesNotEnter(t *testing.T) {
	p := newPasswords(Config{Argon2id: cheap, PasswordConcurrency: 1, PasswordQueue: 1})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.enter(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestCheck(t *testing.T) {
	raised := cheap
	raised.Passes++
	for _, tt := range []struct {
		rule         string
		stored       string
		ok, outdated bool
		err          bool
	}{
		{"the right password", newArgon2idHash(raised, password).String(), true, false, false},
		{"an older hash", newArgon2idHash(cheap, password).String(), true, true, false},
		{"another password", newArgon2idHash(raised, "x").String(), false, false, false},
		{"no hash", "", false, false, false},
		{"a hash that cannot be read", "$argon2id$v=19$nonsense", false, false, true},
		{"a foreign hash", "$2a$10$x", false, false, true},
	} {
		p := newPasswords(Config{Argon2id: raised, PasswordConcurrency: 1})
		ok, outdated, err := p.check(context.Background(), tt.stored, password)
		if ok != tt.ok || ok && outdated != tt.outdated || (err != nil) != tt.err {
			t.Errorf("%s: %v, outdated %v, error %v", tt.rule, ok, outdated, err)
		}
	}
}

func TestLegacyPasswordIsAskedOnlyAboutForeignHashes(t *testing.T) {
	var asked []string
	broken := errors.New("broken")
	p := newPasswords(Config{Argon2id: cheap, PasswordConcurrency: 1, LegacyPassword: func(_ context.Context, hash, pw string) (bool, error) {
		asked = append(asked, hash)
		if hash == "broken" {
			return true, broken
		}
		return pw == password, nil
	}})
	ctx := context.Background()
	if ok, outdated, err := p.check(ctx, "foreign", password); !ok || !outdated || err != nil {
		t.Errorf("the right password: %v, outdated %v, error %v", ok, outdated, err)
	}
	if ok, _, err := p.check(ctx, "foreign", "x"); ok || err != nil {
		t.Errorf("another password: %v, error %v", ok, err)
	}
	if ok, _, err := p.check(ctx, "broken", password); ok || !errors.Is(err, broken) {
		t.Errorf("an error with true: %v, error %v", ok, err)
	}
	p.check(ctx, "", password)
	p.check(ctx, newArgon2idHash(cheap, password).String(), password)
	if len(asked) != 3 {
		t.Errorf("asked about %q", asked)
	}
}
