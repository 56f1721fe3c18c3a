//go:build !unix

package redistest

import "os/exec"

// account is the user that a server runs as: the one that the test runs as.
type account struct{}

func findAccount() (account, error) { return account{}, nil }
func (account) own(string) error    { return nil }
func (account) run(*exec.Cmd)       {}
