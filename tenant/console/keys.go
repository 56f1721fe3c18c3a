package console

import (
	"net/http"
	"net/url"
	"time"
)

type keyView struct {
	ID             string    `json:"kid"`
	Algorithm      string    `json:"alg"`
	Current        bool      `json:"current"`
	Next           bool      `json:"next"`
	Previous       bool      `json:"previous"`
	Revoked        bool      `json:"revoked"`
	CurrentSince   time.Time `json:"current_since"`
	CurrentUntil   time.Time `json:"current_until"`
	PublishedUntil time.Time `json:"published_until"`
}

// State says in a word what the key does.
func (k keyView) State() string {
	switch {
	case k.Revoked:
		return "revoked"
	case k.Current:
		return "signs"
	case k.Next:
		return "next"
	}
	return "retired"
}

type keysPage struct {
	Keys                 []keyView
	MayRotate, MayRevoke bool
}

func (c *Console) keys(v *visit) error {
	page := keysPage{MayRotate: v.visitor.may("create:signing_keys"), MayRevoke: v.visitor.may("update:signing_keys")}
	if err := v.call(http.MethodGet, "/keys/signing", nil, &page.Keys); err != nil {
		return err
	}
	return v.render("keys", http.StatusOK, "Signing keys", page)
}

func (c *Console) changeKeys(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	switch form.Get("action") {
	case "rotate":
		if err := v.call(http.MethodPost, "/keys/signing/rotate", nil, nil); err != nil {
			return err
		}
		return v.redirect("/keys", "rotated")
	case "revoke":
		if err := v.call(http.MethodPut, "/keys/signing/"+url.PathEscape(form.Get("kid"))+"/revoke", nil, nil); err != nil {
			return err
		}
		return v.redirect("/keys", "revoked")
	}
	return &failure{http.StatusBadRequest, "The form is not one of this page."}
}
