package main

import "syscall"

// attributes of a node's process: in a group of its own, so that an interrupt from the
// terminal reaches the balancer first, and ended if the balancer is killed.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
