package oauth

import (
	"errors"
	"net/url"
	"strings"
)

// This file implements the sector identifier of OpenID Connect Core §8.1.

// SectorIdentifier returns the sector that a client belongs to: the host of its
// sector_identifier_uri or, without one, the host that all its redirect URIs have.
// The URIs were validated. The error's text says why there is no sector; it is
// written for the client.
//
// A redirect URI on the user's own device names no host of the application: all
// native applications would be one sector, and know their users in common.
func SectorIdentifier(sectorURI string, redirectURIs []string) (string, error) {
	if sectorURI != "" {
		u, err := url.Parse(sectorURI)
		if err != nil || u.Hostname() == "" {
			return "", errors.New("sector_identifier_uri has no host")
		}
		return strings.ToLower(u.Hostname()), nil
	}
	sector := ""
	for _, uri := range redirectURIs {
		if kind, err := ClassifyRedirectURI(uri); err != nil || kind != RedirectWeb {
			return "", errors.New("not every redirect URI is an https URI, whose host would be the sector")
		}
		u, err := url.Parse(uri)
		if err != nil {
			return "", errors.New("a redirect URI is not valid")
		}
		host := strings.ToLower(u.Hostname())
		if sector != "" && sector != host {
			return "", errors.New("the redirect URIs have more than one host")
		}
		sector = host
	}
	if sector == "" {
		return "", errors.New("there is no redirect URI, whose host would be the sector")
	}
	return sector, nil
}
