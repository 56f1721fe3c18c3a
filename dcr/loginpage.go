package dcr

import (
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file is about the login page that a client may have of its own. Whoever
// registers an application has no say in it: the page runs on the provider's address.

// loginPageOf returns the page of a client, zero if there is none.
func loginPageOf(c *store.Client) store.LoginPage {
	if c.LoginPage == nil {
		return store.LoginPage{}
	}
	return *c.LoginPage
}

func setLoginPage(c *store.Client, page store.LoginPage) {
	c.LoginPage = nil
	if page != (store.LoginPage{}) {
		c.LoginPage = &page
	}
}

// checkLoginPage validates the page of a client.
func checkLoginPage(c *store.Client) error {
	if err := tenant.CheckLoginPage(loginPageOf(c).HTML); err != nil {
		return invalid("custom_login_page", "custom_login_page %s", err)
	}
	return nil
}
