package listen

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// On opens addr. An error says what the reader can do: flag is the one that chooses
// another address.
func On(addr, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("another program listens on %s; choose an address with %s, such as %s 127.0.0.1:0, which takes a free port: %w", addr, flag, flag, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("you may not listen on %s; choose a port above 1023 with %s: %w", addr, flag, err)
	}
	return nil, fmt.Errorf("%s is not an address to listen on; %s takes one like 127.0.0.1:8080: %w", addr, flag, err)
}
