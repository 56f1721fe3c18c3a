package main

import (
	"encoding/json"
	"os"
)

// state tells scripts where things are. It is written once everything is served.
type state struct {
	Issuer           string `json:"issuer"`
	CAFile           string `json:"ca_file"` // empty without -tls
	MgmtClientID     string `json:"mgmt_client_id"`
	MgmtClientSecret string `json:"mgmt_client_secret"`
	User             string `json:"user"`
	Password         string `json:"password"`
	ConnectionID     string `json:"connection_id"`
	Audience         string `json:"audience"`
	APIURL           string `json:"api_url"`
	AppURL           string `json:"app_url"` // empty without a demo application
	// ListenURL is where the provider listens, which -issuer may hide.
	ListenURL string `json:"listen_url"`
	PprofURL  string `json:"pprof_url"`
}

func (s state) write(path string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, append(text, '\n'), os.Rename)
}
