package redistest

import "syscall"

// attributes of a server's process: in a group of its own, so that an interrupt from
// the terminal reaches the test first, and ended if the test is killed.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
