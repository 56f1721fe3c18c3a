package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
)

// SigningKeysHandler serves signing keys to administrators:
//
//	GET  /api/v2/keys/signing               read:signing_keys    200
//	GET  /api/v2/keys/signing/{kid}         read:signing_keys    200
//	POST /api/v2/keys/signing/rotate        create:signing_keys  201
//	PUT  /api/v2/keys/signing/{kid}/revoke  update:signing_keys  200
//
// The list is not paged. Rotation may have a body, {"alg":"RS256","immediate":true}:
// without alg it is for all algorithms, without immediate the next keys are
// published before they sign, see [Rotation]. It answers with the next key of RS256
// (of alg, if that was sent), and with all next keys in the member keys.
//
// The handler may be mounted under any path that ends as above, from "signing" on.
func (d *Directory) SigningKeysHandler() http.Handler {
	collection := management.Methods{http.MethodGet: d.guard.Require(ScopeReadSigningKeys, d.listSigningKeys).Describe(management.Doc{
		Summary: "List signing keys",
		Answer:  management.Array("SigningKey", signingKeyView{}),
	})}
	one := management.Methods{http.MethodGet: d.guard.Require(ScopeReadSigningKeys, d.getSigningKey).Describe(management.Doc{
		Summary: "Read a signing key",
		Answer:  management.Object("SigningKey", signingKeyView{}), Tagged: true, Errors: []int{404},
	})}
	rotate := management.Methods{http.MethodPost: d.guard.Require(ScopeCreateSigningKeys, d.rotateSigningKeys).Describe(management.Doc{
		Summary: "Make the next signing keys",
		Body:    rotationBody{}, Optional: true, Status: http.StatusCreated,
		Answer: management.Object("SigningKeyRotation", rotationView{}),
	})}
	revoke := management.Methods{http.MethodPut: d.guard.Require(ScopeUpdateSigningKeys, d.revokeSigningKey).Describe(management.Doc{
		Summary: "Revoke a signing key",
		Answer:  management.Object("SigningKey", signingKeyView{}), Tagged: true, Errors: []int{404},
	})}
	return signingKeyResource{collection, one, rotate, revoke}
}

// signingKeyResource serves the paths of signing keys.
type signingKeyResource struct{ collection, one, rotate, revoke management.Methods }

func (res signingKeyResource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch kid, action := signingKeyPath(r.URL.Path); {
	case action == "rotate":
		res.rotate.ServeHTTP(w, r)
	case action == "revoke":
		res.revoke.ServeHTTP(w, r)
	case kid != "":
		res.one.ServeHTTP(w, r)
	default:
		res.collection.ServeHTTP(w, r)
	}
}

// Operations implements [management.Described].
func (res signingKeyResource) Operations() map[string]management.Methods {
	return map[string]management.Methods{"": res.collection, "/{kid}": res.one, "/rotate": res.rotate, "/{kid}/revoke": res.revoke}
}

// signingKeyPath reads what a path is about from its end: a key, what is to be done
// with it, or neither, which is the list. The key may not exist.
func signingKeyPath(path string) (kid, action string) {
	before, last := cutLast(path)
	switch last {
	case "", "signing":
		return "", ""
	case "rotate":
		return "", last
	case "revoke":
		_, kid = cutLast(before)
		return kid, last
	}
	return last, ""
}

func cutLast(path string) (before, last string) {
	slash := strings.LastIndexByte(path, '/')
	return path[:max(slash, 0)], path[slash+1:]
}

// signingKeyView is a key on the wire. The first members are those that SDKs know.
type signingKeyView struct {
	KID string `json:"kid"`
	// Current: the key signs. Next: it is published and does not sign yet. Previous:
	// it no longer signs, and its tokens are accepted while it is published.
	Current  bool `json:"current"`
	Next     bool `json:"next"`
	Previous bool `json:"previous"`
	// CurrentSince of the next key is in the future, as CurrentUntil of the current
	// one may be. A key that was revoked before it signed has neither.
	CurrentSince time.Time `json:"current_since,omitzero"`
	CurrentUntil time.Time `json:"current_until,omitzero"`
	Revoked      bool      `json:"revoked"`
	RevokedAt    time.Time `json:"revoked_at,omitzero"`

	Algorithm      string          `json:"alg"`
	CreatedAt      time.Time       `json:"created_at"`
	PublishedUntil time.Time       `json:"published_until,omitzero"`
	JWK            json.RawMessage `json:"jwk"`
}

func (s *keySet) view(k *timedKey, now time.Time) (signingKeyView, error) {
	r := &k.record
	v := signingKeyView{
		KID: r.ID, Algorithm: r.Algorithm, CreatedAt: r.CreatedAt,
		CurrentSince: r.ActiveAt, CurrentUntil: k.until, PublishedUntil: k.gone,
		Revoked: !r.RevokedAt.IsZero(), RevokedAt: r.RevokedAt,
	}
	v.Current = s.signing(r.Algorithm, now) == k.signingKey
	v.Next = !v.Current && !reached(k.until, now) && r.ActiveAt.After(now)
	v.Previous = !v.Current && !v.Next && !v.Revoked
	if v.Revoked && !r.ActiveAt.Before(r.RevokedAt) {
		v.CurrentSince, v.CurrentUntil = time.Time{}, time.Time{}
	}
	var err error
	v.JWK, err = json.Marshal(k.public)
	return v, err
}

func (d *Directory) listSigningKeys(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	set, err := d.keysNow(r.Context(), caller.TenantID)
	if err != nil {
		return err
	}
	views := []signingKeyView{}
	for i := range set.records {
		k := set.find(set.records[i].ID)
		if k == nil {
			continue
		}
		v, err := set.view(k, d.now())
		if err != nil {
			return err
		}
		views = append(views, v)
	}
	httpx.WriteJSON(w, http.StatusOK, views)
	return nil
}

var (
	errNoSigningKey = management.Errorf(http.StatusNotFound, "inexistent_signing_key", "The signing key does not exist.")
	errKeysChanging = management.Errorf(http.StatusConflict, "signing_keys_changed", "The signing keys are being changed by others, try again.")
)

// viewSigningKey returns a key as it is now.
func (d *Directory) viewSigningKey(ctx context.Context, tenantID, kid string) (signingKeyView, error) {
	set, err := d.keysNow(ctx, tenantID)
	if err != nil {
		return signingKeyView{}, err
	}
	k := set.find(kid)
	if k == nil {
		return signingKeyView{}, errNoSigningKey
	}
	return set.view(k, d.now())
}

func (d *Directory) getSigningKey(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	kid, _ := signingKeyPath(r.URL.Path)
	return d.writeSigningKey(w, r, caller, kid)
}

func (d *Directory) writeSigningKey(w http.ResponseWriter, r *http.Request, caller management.Caller, kid string) error {
	view, err := d.viewSigningKey(r.Context(), caller.TenantID, kid)
	if err != nil {
		return err
	}
	return management.WriteRecord(w, r, http.StatusOK, tagOfSigningKey(view), view)
}

// tagOfSigningKey needs no version: all that changes is shown, also what changes with
// the time alone.
func tagOfSigningKey(v signingKeyView) management.Tag { return management.TagOf(0, v) }

type rotationBody struct {
	Algorithm *string `json:"alg"`
	Immediate bool    `json:"immediate"`
}

// rotationView is the next key, or that of RS256, and all next keys.
type rotationView struct {
	signingKeyView
	Keys []signingKeyView `json:"keys"`
}

func (d *Directory) rotateSigningKeys(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	var body rotationBody
	if r.ContentLength != 0 { // SDKs send none
		var err error
		if body, err = management.Decode[rotationBody](w, r); err != nil {
			return err
		}
	}
	rotate := algorithms
	if body.Algorithm != nil {
		if !supported(*body.Algorithm) {
			return management.InvalidBody("alg must be one of %s", strings.Join(algorithms, ", "))
		}
		rotate = []string{*body.Algorithm}
	}
	answer := rotationView{Keys: []signingKeyView{}}
	for _, algorithm := range rotate {
		next, err := d.RotateSigningKey(r.Context(), caller.TenantID, Rotation{Algorithm: algorithm, Immediate: body.Immediate})
		if errors.Is(err, store.ErrConflict) {
			return errKeysChanging
		}
		if err != nil {
			return err
		}
		d.audit(r, caller, "signing key rotated", next.ID)
		view, err := d.viewSigningKey(r.Context(), caller.TenantID, next.ID)
		if err != nil {
			return err
		}
		answer.signingKeyView = view // RS256 comes last
		answer.Keys = append(answer.Keys, view)
	}
	httpx.WriteJSON(w, http.StatusCreated, answer)
	return nil
}

func (d *Directory) revokeSigningKey(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	kid, _ := signingKeyPath(r.URL.Path)
	_, err := d.revokeKeyIf(r.Context(), caller.TenantID, kid, func(set *keySet, k *timedKey) error {
		view, err := set.view(k, d.now())
		if err != nil {
			return err
		}
		return management.CheckMatch(r, tagOfSigningKey(view))
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errNoSigningKey
	case errors.Is(err, store.ErrConflict):
		return errKeysChanging
	case err != nil:
		return err
	}
	d.audit(r, caller, "signing key revoked", kid)
	return d.writeSigningKey(w, r, caller, kid)
}
