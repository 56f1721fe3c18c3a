package connection

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// This file lets the host decide what a profile is made of.

// UpstreamClaims is what an upstream said of a user who has just signed in.
type UpstreamClaims struct {
	TenantID   string
	Connection store.Connection // without options, which hold secrets
	// Subject is what the upstream calls the user. It decides who the user is here.
	Subject string
	// Claims are those of the ID token, which was verified, and of userinfo.
	Claims map[string]json.RawMessage
	// Profile is what the connection's options make of them.
	Profile UpstreamProfile
}

// mapUpstream asks the host.
func (d *Directory) mapUpstream(ctx context.Context, c *store.Connection, identity *UpstreamIdentity, claims map[string]json.RawMessage) error {
	if d.cfg.MapUpstream == nil {
		return nil
	}
	shown := c.Clone()
	shown.Options = nil
	mapped, err := d.cfg.MapUpstream(ctx, UpstreamClaims{
		TenantID: c.TenantID, Connection: shown, Subject: identity.Subject, Claims: maps.Clone(claims), Profile: identity.UpstreamProfile,
	})
	if err != nil {
		return err
	}
	mapped.clean()
	identity.UpstreamProfile = mapped
	return nil
}

// clean removes what a profile cannot have.
func (u *UpstreamProfile) clean() {
	u.Email = foldLogin(u.Email)
	if checkEmail(u.Email) != nil {
		u.Email, u.EmailVerified = "", false
	}
	p := &u.Profile
	for _, text := range []*string{
		&p.Name, &p.GivenName, &p.FamilyName, &p.MiddleName, &p.Nickname, &p.PreferredUsername, &p.Gender, &p.Birthdate, &p.Zoneinfo, &p.Locale, &p.PhoneNumber,
	} {
		if !isText(*text, maxUserText) {
			*text = ""
		}
	}
	for _, link := range []*string{&p.ProfileURL, &p.Picture, &p.Website} {
		if *link != "" && oauth.CheckURI(*link, "https", "http") != nil {
			*link = ""
		}
	}
}
