//go:build unix

package redistest

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// account is the user that a server runs as. Zero: the one that the test runs as.
type account struct{ uid, gid int }

// findAccount returns one that is not root.
func findAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"redis", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		return account{uid, gid}, errors.Join(err1, err2)
	}
	return account{}, errors.New("there is neither a user redis nor a user nobody to run the server as")
}

// own gives a directory to the account.
func (a account) own(path string) error {
	if a == (account{}) {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}

// run makes cmd run as the account, and end if the test program is killed.
func (a account) run(cmd *exec.Cmd) {
	cmd.SysProcAttr = attributes()
	if a != (account{}) {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
}
